"""Values out of range, flags that contradict each other, and places that cannot be read or written."""

import pytest
from mistake import COLLECT, HUGE, LONG, TRAIN, Mistake, check

VALUES = {
    "zero episodes": Mistake("rollout --model zero --episodes 0", "at least 1 episode, got 0"),
    "a thousand million episodes": Mistake("rollout --model zero --episodes 1000000000", "at most 1000000 episodes"),
    "a thousand million demonstrations": Mistake(
        "collect --env reach --episodes 1000000000 --output new", "at most 1000000 episodes"
    ),
    "a thousand million episodes to choose by": Mistake(
        "validate zero random --env reach --episodes 1000000000", "at most 1000000 episodes"
    ),
    "a huge seed": Mistake(f"rollout --model zero --env reach --seeds {HUGE}", "seeds of at most 9223372036854775807"),
    "a huge base seed": Mistake(f"{COLLECT} --seed {HUGE}", "seeds of at most 9223372036854775807"),
    "a huge seed to film": Mistake(f"record --model zero --output new --seeds {HUGE}", "seeds of at most"),
    "a huge number of actions": Mistake(
        f"rollout --model zero --env reach --policy-option n_action_steps={HUGE}", "n_action_steps as int, got '1000"
    ),
    "a huge decay": Mistake(
        f"rollout --model zero --env reach --policy-option ensemble_decay={HUGE}", "ensemble_decay as float, got '1000"
    ),
    "a film of another kind": Mistake(
        "record --model zero --env reach --seeds 1 --output film.avi", "a file that ends in .mp4 or .gif, got film.avi"
    ),
    "zero demonstrations": Mistake("collect --env reach --episodes 0 --output new", "at least 1 episode, got 0"),
    "a seed twice": Mistake("rollout --model zero --seeds 1 1", "each seed once"),
    "a negative seed": Mistake("rollout --model zero --env reach --seeds -1", "-1"),
    "no slots": Mistake("rollout --model zero --num-envs 0", "expected --num-envs of at least 1, got 0"),
    "no workers": Mistake(f"{COLLECT} --workers 0", "expected --workers of at least 1, got 0"),
    "no slots to collect in": Mistake(f"{COLLECT} --num-envs 0", "expected --num-envs of at least 1, got 0"),
    "a test seed": Mistake(f"{COLLECT} --seed 0", "0 to 999999 are reserved for evaluation; leave out --seed"),
    "a validation seed": Mistake(
        f"{COLLECT} --seed 2999999999", "2000000000 to 2999999999 are reserved for evaluation; leave out --seed"
    ),
    "no time": Mistake("rollout --model zero --timeout 0", "expected a --timeout above 0 s, got 0"),
    "no time to collect": Mistake(f"{COLLECT} --timeout nan", "expected a --timeout above 0 s, got nan"),
    "a policy option without a value": Mistake(
        "rollout --model zero --policy-option n_action_steps",
        "expected --policy-option NAME=VALUE, got 'n_action_steps'; for example n_action_steps=1",
    ),
    "a policy option twice": Mistake(
        "rollout --model zero --policy-option n_action_steps=1 n_action_steps=1", "expected one value"
    ),
    "a policy option that is no number": Mistake(
        "rollout --model zero --policy-option n_action_steps=many", "n_action_steps as int, got 'many'"
    ),
    "no action of a chunk": Mistake("rollout --model zero --policy-option n_action_steps=0", "at least 1, got 0"),
    "more actions than a chunk has": Mistake(
        "rollout --model bc-reach --env reach --policy-option n_action_steps=2",
        "expected n_action_steps of 1 to 1, the length of the model's chunks; got 2",
    ),
    "one checkpoint to choose from": Mistake(
        "validate bc-reach --env reach", "expected at least 2 different checkpoints, got bc-reach"
    ),
    "a checkpoint twice": Mistake("validate zero zero --env reach", "at least 2 different checkpoints, got zero zero"),
    "a checkpoint folder twice": Mistake(
        "validate bc ./bc --env reach", "at least 2 different checkpoints, got bc ./bc"
    ),
    "no workers to choose with": Mistake("validate zero random --env reach --workers 0", "--workers of at least 1"),
    "a film of what has no film camera": Mistake(
        "record --model zero --env unseen --output new",
        "Test/Unseen-v0 has no camera for videos; choose an environment",
    ),
    "a video of what has no film camera": Mistake(
        "rollout --model zero --env unseen --episodes 1 --video 1 --output new",
        "Test/Unseen-v0 has no camera for videos; choose an environment",
    ),
    "negative noise": Mistake(f"{COLLECT} --action-noise -0.1", "action"),
    "no noise at all": Mistake(f"{COLLECT} --action-noise nan", "action"),
    "an image of nothing": Mistake(f"{COLLECT} --image-size 0", "image"),
    "a huge image": Mistake(f"{COLLECT} --image-size 1000000", "image"),
    "negative videos": Mistake("rollout --model zero --env reach --episodes 1 --video -1", "video"),
    "zero steps": Mistake("train --model bc --dataset data --output new --steps 0", "--steps must be at least 1"),
    "no dataset": Mistake("train --model bc --output new --dataset", "dataset"),
    "a device": Mistake(f"{TRAIN} --device abacus", "--device abacus cannot be used"),
    "a wall": Mistake("record --model zero --output new --grid 4", "such as 4x4"),
    "a picture that is no PNG": Mistake("envs --contact-sheet new.jpg", "a name that ends in .png"),
    "a new name without the old one": Mistake(
        "data import data --output new --rename state", "--rename takes SOURCE=NEW, for example"
    ),
}

CONTRADICTIONS = {
    "two ways to execute chunks": Mistake(
        "rollout --model vla --policy-option n_action_steps=1 ensemble_decay=0.1",
        "expected n_action_steps or ensemble_decay, got both",
    ),
    "choose again where": Mistake("validate zero random --env reach --resume", "expected --output with --resume"),
    "two plans": Mistake("rollout --model zero --detect 5pp --episodes 3", "--detect or --episodes, got both"),
    "resume what": Mistake("rollout --model zero --resume", "expected --output with --resume"),
    "decided against whom": Mistake("rollout --model zero --until-decided", "expected --vs with --until-decided"),
    "collect where": Mistake("collect --env reach", "expected --output"),
    "collect and verify": Mistake("collect --output new --verify data", "got both"),
    "weights of none": Mistake("rollout --model zero --checkpoint bc --env reach", "policy 'zero' has no weights"),
    "chunks": Mistake(f"{TRAIN} --n-action-steps 2", r"--n-action-steps must lie in [1, 1], got 2"),
    "truth twice": Mistake(f"{TRAIN} --use-environment-state --auxiliary-weight 1", "--auxiliary-weight"),
    "a run with itself": Mistake("report run run", "more than once"),
    "a run compared with itself": Mistake("compare run ./run/../run", "expected two different runs, got run twice"),
    "one film of many": Mistake("record --model zero --output new.mp4", "expected one seed or --grid"),
}

PLACES = {
    "rollout over a run": Mistake("rollout --model zero --output run", "already holds a run; add --resume"),
    "rollout into a full folder": Mistake("rollout --model zero --output full", "full is not empty"),
    "rollout into a file": Mistake("rollout --model zero --output file", "file is a file"),
    "rollout below a file": Mistake("rollout --model zero --output file/new", "file"),
    "collect over data": Mistake("collect --env reach --episodes 1 --output data", "data is not empty"),
    "collect into a file": Mistake("collect --env reach --episodes 1 --output file", "file is a file"),
    "record into a full folder": Mistake("record --model zero --env reach --output full", "full is not empty"),
    "train over a checkpoint": Mistake("train --model bc --dataset data --output bc", "bc"),
    "train into a file": Mistake("train --model bc --dataset data --output file", "file"),
    "report over a run": Mistake("report run --output run/run.json --format json", "would replace a file of a run"),
    "export over data": Mistake("data export data --output data", "data is not empty"),
    "draw below a file": Mistake("envs --contact-sheet file/new.png", "file"),
    "rollout where none may write": Mistake("rollout --model zero --output /proc/new", "/proc/new"),
    "choose where none may write": Mistake("validate zero random --env reach --output /proc/new", "/proc/new"),
    "choose in a full folder": Mistake("validate zero random --env reach --output full", "full is not empty"),
    "choose again in a run": Mistake("validate zero random --env reach --output run --resume", "run is not empty"),
    "collect where none may write": Mistake("collect --env reach --episodes 1 --output /proc/new", "/proc/new"),
    "record where none may write": Mistake("record --model zero --env reach --output /proc/new", "/proc/new"),
    "film where none may write": Mistake(
        "record --model zero --env reach --seeds 1 --output /proc/new/film.mp4", "/proc/new"
    ),
    "train where none may write": Mistake("train --model bc --dataset data --output /proc/new", "/proc/new"),
    "report where none may write": Mistake("report run --output /proc/new.html", "/proc/new.html"),
    "export where none may write": Mistake("data export data --output /proc/new", "/proc"),
    "draw where none may write": Mistake("envs --contact-sheet /proc/new.png", "/proc"),
    "control characters in a path": Mistake("rollout --model zero --output file/\x1b[2J", r"cannot use file/\x1b[2J ("),
    "rollout into a name too long": Mistake(f"rollout --model zero --output {LONG}", "File name too long"),
    "collect into a name too long": Mistake(f"collect --env reach --episodes 1 --output {LONG}", "File name too long"),
    "train into a name too long": Mistake(f"train --model bc --dataset data --output {LONG}", "File name too long"),
    "a checkpoint with a name too long": Mistake(f"rollout --model {LONG} --env reach", "File name too long"),
    "no run to compare with": Mistake("compare run nowhere", "nowhere"),
    "no run to report": Mistake("report nowhere", "nowhere"),
    "no dataset to look into": Mistake("data info nowhere", "nowhere is no dataset"),
    "no dataset to export": Mistake("data export nowhere --output new", "nowhere is no dataset"),
    "no dataset to train on": Mistake("train --model bc --dataset nowhere --output new", "nowhere is no dataset"),
    "no dataset to verify": Mistake("collect --verify nowhere", "nowhere is no dataset"),
    "no dataset to import": Mistake("data import data --output new", "data is no LeRobotDataset"),
    "no checkpoint": Mistake("rollout --model bc --checkpoint nowhere --env reach", "nowhere is no checkpoint"),
    "no checkpoint to start from": Mistake(f"{TRAIN} --initial-checkpoint nowhere", "nowhere is no checkpoint"),
    "a dataset for a checkpoint": Mistake("rollout --model data --env reach", "data is no checkpoint"),
    "a checkpoint for a dataset": Mistake("data info bc", "bc is no dataset"),
}

TABLE = {
    f"{kind}: {name}": mistake
    for kind, mistakes in {"value": VALUES, "contradiction": CONTRADICTIONS, "place": PLACES}.items()
    for name, mistake in mistakes.items()
}


@pytest.mark.parametrize("name", TABLE)
def test_a_mistake_is_one_line_and_changes_nothing(place, capfd, name):
    check(TABLE[name], place, capfd)
