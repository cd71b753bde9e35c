import pytest

from envs import ENVIRONMENTS

DEVELOPMENT_SEED = 3_000_000_000


@pytest.fixture(params=ENVIRONMENTS.values(), ids=ENVIRONMENTS.keys())
def env_id(request):
    return request.param


@pytest.fixture(params=[env_id for name, env_id in ENVIRONMENTS.items() if name != "reach"])
def cube_env_id(request):
    return request.param
