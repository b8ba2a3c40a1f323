"""Jobs are tested through `launch`, by test_launch.py, against a server that stands for Kubernetes."""

import pytest

from longtail.errors import InputError
from longtail.processes.jobs import Job


def test_without_kubernetes_there_is_no_job(tmp_path, use_kubeconfig):
    use_kubeconfig(tmp_path / "none")
    with pytest.raises(InputError, match="no Kubernetes is known here"):
        Job("trainjob", "name")
