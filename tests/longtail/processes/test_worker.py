from longtail.processes.request import Request
from longtail.processes.worker import main


def test_bad_input_is_exit_code_2_and_one_line(tmp_path, capsys):
    request = Request({"epochs": 1}, {"dataset": str(tmp_path / "lost")}, {"backbone": str(tmp_path / "out")}, 1, 1)
    assert main(request.arguments[-1:]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")
