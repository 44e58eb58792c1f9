"""The `thinkscale` command."""
