"""What a stage does, in the form's own words."""

from studio.params.table import every_parameter


def method_words(method: str, language: str) -> str:
    """sft -> Learn from examples (SFT)"""
    known = {choice.value: choice.label(language) for choice in every_parameter()["method"].choices}
    return known.get(method, method)
