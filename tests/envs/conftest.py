import pytest

from envs import environment_names

DEVELOPMENT_SEED = 3_000_000_000
BUILT_IN = environment_names()


@pytest.fixture(params=BUILT_IN.values(), ids=BUILT_IN.keys())
def env_id(request):
    return request.param


@pytest.fixture(params=[env_id for name, env_id in BUILT_IN.items() if not name.startswith("reach")])
def cube_env_id(request):
    return request.param
