"""The files of the repository that are made from the code: which they are, and their text.

`scripts/gen` writes them, a test compares them, so that the CRD, the chart's rights and the
reference cannot drift from the models. Editing one of them by hand is undone by the next run.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from thinkscale.api import rbac, reference
from thinkscale.api.crd import CRD_NAME, crd, schema, to_yaml
from thinkscale.api.names import GROUP, PLURAL

NOTICE: Final = "Made by scripts/gen from operator/thinkscale/api; do not edit."


def crd_file() -> str:
    """The CRD for `kubectl apply`."""
    return f"# {NOTICE}\n{to_yaml(crd())}"


def chart_crd() -> str:
    """The CRD as a template of the chart: installed on demand, kept when the chart goes."""
    name_line = f"  name: {CRD_NAME}\n"
    keep = (
        "  {{- if .Values.crds.keep }}\n"
        "  annotations:\n"
        "    helm.sh/resource-policy: keep\n"
        "  {{- end }}\n"
    )
    text = to_yaml(crd())
    if "{{" in text:
        raise ValueError("the CRD's text would be taken for a template")
    body = text.replace(name_line, name_line + keep, 1)
    return f"{{{{- /* {NOTICE} */}}}}\n{{{{- if .Values.crds.install }}}}\n{body}{{{{- end }}}}\n"


def chart_rules() -> str:
    """The operator's rights, as the chart's ClusterRole includes them."""
    lines = [f"# {NOTICE}"]
    for rule in rbac.OPERATOR:
        lines += [f"# {rule.why}", to_yaml([rule.as_object()]).rstrip()]
    return "\n".join(lines) + "\n"


def api_reference() -> str:
    """The reference page of the resource."""
    return reference.page(schema())


FILES: Final[Mapping[str, Callable[[], str]]] = {
    f"crds/{GROUP}_{PLURAL}.yaml": crd_file,
    f"charts/thinkscale/templates/crd-{PLURAL}.yaml": chart_crd,
    "charts/thinkscale/files/operator-rules.yaml": chart_rules,
    "docs/reference/api.md": api_reference,
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
