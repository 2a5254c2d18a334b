"""What is said, for which versions, of files that leave things open, and of the presets."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from unit.test_rules_fire import BY_ID, NOW, OURS, SPOKEN, our_run, spoken

from engine.config.run_config import FIELDS
from qltui.advice.catalogue import markdown
from qltui.advice.evaluation import evaluate
from qltui.advice.findings import Finding, Severity
from qltui.advice.rule import Concerns
from qltui.advice.rules import RULES
from qltui.advice.setup import NAMES, UNSAID, Setup
from qltui.advice.versions import Bound, release
from qltui.configs.loading import load
from qltui.configs.presets import bundled
from qltui.facts.machine import parse

PROGRAMS = ("hf", "trl", "axolotl", "llamafactory", "accelerate", "deepspeed")
NAMES_OF_THINGS = {
    "torch",
    "bitsandbytes",
    "cuda",
    "pipeline",
    "single",
    "olora",
    "loftq",
    "ulysses",
    "axolotl",
    "strategy",
}
BOUNDED = [rule for rule in RULES if rule.versions]


def found(name: str) -> tuple[Setup, Finding]:
    """The setup in which a rule fires, and what it says then."""
    setup = our_run(OURS[name][0]) if name in OURS else spoken(SPOKEN[name][0])
    return setup, next(finding for finding in evaluate(setup) if finding.rule == name)


def begins_well(text: str) -> bool:
    """With a capital, or with an identifier: a name with digits, dots or underscores in it, or one of the above."""
    first = text.split()[0]
    return (
        bool(re.search(r"[A-Z0-9._=]", first.rstrip(".")))
        or not first[0].islower()
        or first.strip("':") in NAMES_OF_THINGS
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_text_is_whole_sentences_and_names_the_value(rule) -> None:
    _, finding = found(rule.id)
    for text in (finding.message, finding.why, rule.remedy):
        assert begins_well(text), text
        assert text.endswith("."), text
        assert "{" not in text.replace('{"": local_rank}', ""), text
        assert "  " not in text, text
        flags = set(re.findall(r"\b(\w+) is (?:true|false)\b", text)) & NAMES
        assert flags <= {"cpu_ram_efficient_loading"}, f"names what only our code calls so: {text}"
    said = finding.message.removesuffix(rule.remedy)
    assert said != finding.message, "what to do is not said"
    assert said.rstrip().endswith("."), "what is wrong is not said"
    assert finding.source
    assert not rule.case.endswith(".")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_fields_and_fixes_name_what_there_is(rule) -> None:
    setup, finding = found(rule.id)
    known = FIELDS if setup.ours else NAMES
    assert finding.field is None or finding.field in known
    assert set(finding.fix) <= set(known)


@pytest.mark.parametrize("name", SPOKEN)
def test_the_fix_for_another_program_silences_its_rule(name: str) -> None:
    setup, finding = found(name)
    if finding.fix:
        assert name not in {one.rule for one in evaluate(setup._replace(**finding.fix))}


@pytest.mark.parametrize("name", SPOKEN)
def test_no_fix_stores_4bit_weights_in_16bit_under_fsdp2(name: str) -> None:
    setup, finding = found(name)
    mended = setup._replace(**finding.fix)
    stored = (
        mended.strategy == "fsdp2" and mended.method == "qlora4" and mended.quant_storage in ("bfloat16", "float16")
    )
    before = setup.strategy == "fsdp2" and setup.method == "qlora4" and setup.quant_storage in ("bfloat16", "float16")
    assert not stored or before
    assert not (mended.strategy == "fsdp2" and finding.fix.get("quant_storage") in ("bfloat16", "float16"))


def just_before(version: str) -> str:
    """The largest version below, near enough: 1.14.0 gives 1.13.999."""
    major, *rest = [int(part) for part in version.split(".")]
    while rest and rest[-1] == 0:
        rest.pop()
    if not rest:
        return f"{major - 1}.999"
    return ".".join(map(str, [major, *rest[:-1], rest[-1] - 1, 999]))


@pytest.mark.parametrize("rule", BOUNDED, ids=lambda rule: rule.id)
def test_a_rule_holds_between_its_versions_alone(rule) -> None:
    setup = spoken(SPOKEN[rule.id][0])
    for bound in rule.versions:

        def holds(version: str, package: str = bound.package) -> bool:
            return rule.holds(setup._replace(versions={**setup.versions, package: version}))

        if bound.since:
            assert holds(bound.since)
            assert not holds(just_before(bound.since))
        if bound.before:
            assert holds(just_before(bound.before))
            assert not holds(bound.before)
        assert not holds("unknown")
        assert not rule.holds(setup._replace(versions={k: v for k, v in setup.versions.items() if k != bound.package}))


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("2.13.0+cpu", (2, 13)), ("1.14", (1, 14)), ("1.14.0", (1, 14)), ("0.19.3.dev0", (0, 19, 3)), ("v5.0.0", (5,)),
     ("5.0.0rc1", (5,)), ("main", None), ("", None)],
)  # fmt: skip
def test_releases_are_read_out_of_versions(text: str, numbers: tuple[int, ...] | None) -> None:
    assert release(text) == numbers


def test_bounds_say_themselves_in_words() -> None:
    assert str(Bound("peft", since="0.21.0", before="0.21.3")) == "peft from 0.21.0 to before 0.21.3"
    assert str(Bound("torch", before="2.7")) == "torch before 2.7"
    assert str(Bound("torch", since="2.13")) == "torch 2.13 or newer"


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("machine", [None, "cpu", "4xA40", "2x24G", "8xT4"])
def test_what_a_file_leaves_open_fires_nothing(program: str, machine: str | None) -> None:
    on = None if machine is None else parse(machine)
    assert evaluate(Setup.of_values({}, program, on, None, NOW)) == []


def test_what_stands_for_the_unsaid_has_names_of_setup() -> None:
    assert set(UNSAID) <= NAMES
    assert set(Setup._fields) - NAMES == {"engine", "config", "versions", "machine", "architecture"}


def test_values_under_other_names_are_passed_by() -> None:
    setup = Setup.of_values({"method": "qlora4", "strategy": "zero3", "lora_rank": 64}, "hf", None, None, NOW)
    assert (setup.method, setup.strategy, setup.precision) == ("qlora4", "zero3", "")


def test_versions_of_a_program_that_is_not_here_only_warn() -> None:
    values = {"method": "lora", "strategy": "fsdp1"}
    empty = "fsdp1-adapter-saved-empty"

    def severity(versions: dict[str, str]) -> Severity:
        findings = evaluate(Setup.of_values(values, "trl", None, None, versions))
        return next(finding.severity for finding in findings if finding.rule == empty)

    assert severity(NOW) is Severity.WARN
    assert severity(NOW | {"trl": "1.16.0"}) is Severity.BLOCK


def test_a_program_that_is_not_here_runs_with_what_it_pins() -> None:
    pinned = Setup.of_values({"method": "lora", "strategy": "fsdp1"}, "axolotl", None, None, NOW)
    assert pinned.versions["peft"] == "0.20.0"
    assert "fsdp1-adapter-saved-empty" not in {finding.rule for finding in evaluate(pinned)}
    assert Setup.of_values({}, "axolotl", None, None, NOW | {"axolotl": "0.20.0"}).versions["peft"] == NOW["peft"]


def test_deepspeed_alone_is_not_taken_for_deepspeed_and_fsdp() -> None:
    values = {"strategy": "zero3", "use_deepspeed": True}
    assert evaluate(Setup.of_values(values, "deepspeed", None, None, NOW)) == []


def test_the_gravest_finding_comes_first() -> None:
    severities = [finding.severity for finding in evaluate(spoken({"quant_storage": "bfloat16", "quant_type": "fp4"}))]
    assert severities == sorted(severities, key=lambda one: one.order)
    assert severities[0] is Severity.BLOCK
    assert severities[-1] is Severity.INFO


def test_our_paths_and_spellings_are_used_for_our_runs() -> None:
    _, finding = found("engine-pipeline-full")
    assert finding.field == "strategy.name"
    assert finding.fix == {"strategy.name": "zero3"}
    assert "strategy.name=pipeline" in finding.message


@pytest.mark.parametrize("preset", bundled())
def test_presets_have_nothing_above_info(preset: str) -> None:
    config = load(preset, [])
    setup = Setup.of_run(config, parse("cpu") if config.hardware.device.value == "cpu" else None, None, NOW)
    assert [finding for finding in evaluate(setup) if finding.severity is not Severity.INFO] == []


def test_the_page_of_rules_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "rules.md"
    assert page.read_text(encoding="utf-8") == markdown(), "run `python -m qltui.advice.catalogue > docs/rules.md`"
    assert all(f"`{rule.id}`" in markdown() for rule in RULES)


def test_rules_load_no_heavy_library() -> None:
    heavy = ("torch", "pydantic", "ruamel", "transformers", "textual", "json", "inspect")
    modules = "qltui.advice.evaluation, qltui.advice.setup, qltui.advice.our_runs"
    code = f"import sys, {modules}; print([name for name in {heavy} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_concerns_part_ours_from_others() -> None:
    assert {rule.id for rule in RULES if rule.concerns is Concerns.OURS} == set(OURS)
    assert BY_ID["4bit-fp4"].concerns is Concerns.ALL


def test_the_optimizer_that_is_offered_is_spelt_as_the_program_does() -> None:
    _, theirs = found("8bit-optimizer-of-adapters")
    ours = next(
        one for one in evaluate(our_run({"training.optimizer": "paged_adamw_8bit"}))
        if one.rule == "8bit-optimizer-of-adapters"
    )  # fmt: skip
    assert "; adamw_torch_fused is" in theirs.message
    assert theirs.fix == {"optim": "adamw_torch_fused"}
    assert "; adamw is" in ours.message
    assert ours.fix == {"training.optimizer": "adamw"}


def test_the_length_a_model_was_made_for_is_said() -> None:
    _, finding = found("beyond-context-length")
    assert f"longer than the {finding.fix['max_length']} this model was made for" in finding.message
