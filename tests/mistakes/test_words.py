"""Names and flags that do not exist."""

import pytest
from mistake import COLLECT, TRAIN, Mistake, check

NAMES = {
    "command": Mistake("simscale rollot", "Unknown command 'rollot'. Did you mean 'rollout'?"),
    "policy": Mistake("rollout --model scripte --env reach", "Unknown policy 'scripte'. Did you mean 'scripted'?"),
    "environment": Mistake("rollout --model zero --env reech", "Unknown environment 'reech'. Did you mean 'reach'?"),
    "environment id": Mistake("collect --env SimScale/Reach-v1 --output new", "Did you mean 'SimScale/Reach-v0'?"),
    "camera of a dataset": Mistake("collect --output new --cameras fronnt", "Did you mean 'front'?"),
    "camera of a film": Mistake("record --model zero --output new --cameras wirst", "Did you mean 'wrist'?"),
    "expert": Mistake(f"{COLLECT} --expert scriptd", "Did you mean 'scripted'?"),
    "model": Mistake("train --model bcc --dataset data --output new", "Unknown model 'bcc'. Did you mean 'bc'?"),
    "preset": Mistake("train --model vla --preset smal --dataset data --output new", "Did you mean 'small'?"),
    "model argument": Mistake(f"{TRAIN} --model-arguments hiden_dim=8", "hiden_dim"),
    "module": Mistake("rollout --model no_module:Policy", "No module named 'no_module'"),
    "attribute": Mistake("rollout --model math:policy --env reach", "module 'math' has no attribute 'policy'"),
    "attribute that is no policy": Mistake(
        "rollout --model math:pi --env reach", "'math:pi' does not make a policy: expected"
    ),
    "class that makes no policy": Mistake("rollout --model builtins:str --env reach", "does not make a policy: it has"),
    "policy option": Mistake(
        "rollout --model bc-reach --env reach --policy-option n_actoin_steps=1", "Did you mean 'n_action_steps'?"
    ),
    "policy option of a function": Mistake(
        "rollout --model zero --env reach --policy-option horizon=1", "Unknown policy option 'horizon'"
    ),
    "environment of a broken package": Mistake(
        "rollout --model zero --env broken --output new",
        "cannot load 'broken' from no_module:REGISTRATION (ModuleNotFoundError: No module named 'no_module'); ",
    ),
    "policy of a broken package": Mistake(
        "rollout --model broken-policy --env reach --output new",
        "cannot load 'broken-policy' from no_module:Policy (ModuleNotFoundError",
    ),
    "intervention": Mistake("rollout --model zero --env reach --intervene vision=blakc", "Did you mean 'black'?"),
    "checkpoint to validate": Mistake("validate zero randm --env reach", "Did you mean 'random'?"),
    "format": Mistake("data export data --format lerobt --output new", "lerobt"),
    "a name and a checkpoint": Mistake("rollout --model bc --env reach", "say --model ./bc for the folder"),
    "subcommand": Mistake("data inof data", "inof"),
    "with control characters": Mistake("rollout --model \x1b[2Jzero --env reach", r"Unknown policy '\x1b[2Jzero'"),
}

FLAGS = {
    "rollout": Mistake("rollout --modle zero", "Unrecognized options: --modle, zero. Did you mean --model?"),
    "collect": Mistake("collect --output new --resum", "Did you mean --resume? See python -m eval.collect --help."),
    "record": Mistake("record --model zero --output new --gird 2x2", "--gird"),
    "report": Mistake("report run --fromat md", "Did you mean --format?"),
    "compare": Mistake("compare run other --marjin 5pp", "Did you mean --margin?"),
    "train": Mistake(f"{TRAIN} --lerning-rate 1", "Did you mean --learning-rate?"),
    "data": Mistake("data info data --verbose", "--verbose"),
    "envs": Mistake("envs --contact-shet new.png", "Did you mean --contact-sheet?"),
    "envs without a value": Mistake("envs --contact-sheet", "Missing value for argument '--contact-sheet'"),
    "policies": Mistake("policies --al", "Unrecognized options: --al"),
    "validate": Mistake("validate zero random --epsiodes 5", "Did you mean --episodes?"),
    "no flag any more": Mistake("rollout --validate zero random", "Unrecognized options: --validate"),
    "nothing required": Mistake("record --model zero", "expected --output PATH; got none."),
    "not a number": Mistake("rollout --model zero --episodes many", "expected --episodes INT, got ['many']"),
    "no value": Mistake("rollout --model", "Missing value for argument '--model'"),
    "one run": Mistake("compare run", "expected B; got none."),
    "no percentage points": Mistake("compare run other --margin 5", "such as 5pp or 5%"),
}

TABLE = {
    f"{kind}: {name}": mistake
    for kind, mistakes in {"name": NAMES, "flag": FLAGS}.items()
    for name, mistake in mistakes.items()
}


@pytest.mark.parametrize("name", TABLE)
def test_a_mistake_is_one_line_and_changes_nothing(place, capfd, name):
    check(TABLE[name], place, capfd)
