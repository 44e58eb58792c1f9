"""The files of the repository that are made from the code: which they are, and their text.

`scripts/gen` writes them, a test compares them, so that the CRD, the chart's rights and the
reference cannot drift from the models. Editing one of them by hand is undone by the next run.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from thinkscale.api import crd, pool_crd, rbac, reference
from thinkscale.api.crd import SERVICE
from thinkscale.api.definition import to_yaml
from thinkscale.api.names import GROUP
from thinkscale.api.pool_crd import POOL

NOTICE: Final = "Made by scripts/gen from operator/thinkscale/api; do not edit."


def crd_file(definition: Mapping[str, Any]) -> str:
    """A CRD for `kubectl apply`."""
    return f"# {NOTICE}\n{to_yaml(definition)}"


def chart_crd(definition: Mapping[str, Any]) -> str:
    """A CRD as a template of the chart: installed on demand, kept when the chart goes."""
    name_line = f"  name: {definition['metadata']['name']}\n"
    keep = (
        "  {{- if .Values.crds.keep }}\n"
        "  annotations:\n"
        "    helm.sh/resource-policy: keep\n"
        "  {{- end }}\n"
    )
    text = to_yaml(definition)
    if "{{" in text:
        raise ValueError("the CRD's text would be taken for a template")
    body = text.replace(name_line, name_line + keep, 1)
    return f"{{{{- /* {NOTICE} */}}}}\n{{{{- if .Values.crds.install }}}}\n{body}{{{{- end }}}}\n"


def chart_rules(rules: Sequence[rbac.Rule]) -> str:
    """Rights of the operator, as the chart's roles include them."""
    lines = [f"# {NOTICE}"]
    for rule in rules:
        lines += [f"# {rule.why}", to_yaml([rule.as_object()]).rstrip()]
    return "\n".join(lines) + "\n"


FILES: Final[Mapping[str, Callable[[], str]]] = {
    f"crds/{GROUP}_{SERVICE.plural}.yaml": partial(crd_file, crd.crd()),
    f"crds/{GROUP}_{POOL.plural}.yaml": partial(crd_file, pool_crd.crd()),
    f"charts/thinkscale/templates/crd-{SERVICE.plural}.yaml": partial(chart_crd, crd.crd()),
    f"charts/thinkscale/templates/crd-{POOL.plural}.yaml": partial(chart_crd, pool_crd.crd()),
    "charts/thinkscale/files/operator-rules.yaml": partial(chart_rules, rbac.OPERATOR),
    "charts/thinkscale/files/cluster-rules.yaml": partial(chart_rules, rbac.CLUSTER),
    "docs/reference/api.md": lambda: reference.page(SERVICE, crd.schema()),
    "docs/reference/gpupool.md": lambda: reference.page(POOL, pool_crd.schema()),
}
"""Path below the repository's root: what makes its text."""


def main(argv: Sequence[str]) -> int:
    """`python -m thinkscale.api.generated ROOT`: write every file whose text has changed."""
    parser = argparse.ArgumentParser(description="Write the generated files of the repository.")
    parser.add_argument("root", type=Path, help="the repository's root directory")
    root: Path = parser.parse_args(argv).root
    for name, make in FILES.items():
        path = root / name
        text = make()
        if path.exists() and path.read_text() == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
