from longtail.claims.evaluation import figures, findings, networks
from longtail.claims.experiment import ALL, DECAY, MIDDLE, SGD
from longtail.claims.rules import CLAIMS

SAME = dict.fromkeys((SGD, DECAY, ALL, MIDDLE), 5.0)


def trained(make_arms, make_snapshot):
    """Runs of which the plain ones have spectra at their end."""
    import dataclasses

    return [
        dataclasses.replace(run, snapshots=(*run.snapshots, make_snapshot(9, train_loss=0.001, trace=0.01)))
        if run.arm == SGD
        else run
        for run in make_arms(SAME, SAME)
    ]


def test_every_claim_on_every_kind_of_network(make_arms, make_run, make_snapshot):
    given = [[make_run(arm="as given", network="resnet32 on cifar100, 200 epochs")]]
    found = list(findings(list(CLAIMS), trained(make_arms, make_snapshot), given))
    assert [(finding.claim, finding.networks.split()[0]) for finding in found] == [
        ("C1", "lenet"),
        ("C1", "resnet32"),
        ("C2", "lenet"),
        ("C2", "resnet32"),
        ("C3", "lenet"),
        ("C4", "lenet"),
        ("C4", "resnet32"),
        ("C5", "lenet"),
        ("C5", "resnet32"),
        ("C6", "lenet"),
        ("C7", "lenet"),
    ]


def test_given_networks_alone(make_run):
    given = [[make_run(arm="as given", network="resnet32 on cifar100, 200 epochs")] * 2]
    found = list(findings(list(CLAIMS), [], given))
    assert [finding.claim for finding in found] == ["C1", "C2", "C4", "C5"]
    assert networks(given[0]) == "resnet32 on cifar100, 200 epochs, 2 networks"
    assert [figure.file for figure in figures(list(CLAIMS), [], given)] == ["distances.png"]


def test_figures_of_the_claims_that_were_asked_for(make_arms, make_snapshot):
    runs = trained(make_arms, make_snapshot)
    assert networks(runs) == "lenet on digits, 9 epochs, 5 seeds"
    assert [figure.file for figure in figures(["C2", "C3", "C6"], runs, [])] == [
        "training.png",
        "distances.png",
        "flatness.png",
    ]
    assert not list(figures(["C4"], runs, []))
