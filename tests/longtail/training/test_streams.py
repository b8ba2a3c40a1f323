import itertools

import torch

from longtail.training.streams import AUGMENTATION, ORDER, PROBES, generator


def test_places_and_streams_share_nothing_and_come_again():
    places = list(itertools.product((1, 2), (ORDER, AUGMENTATION, PROBES), (0, 1), (0, 1)))
    draws = [int(torch.randint(1 << 62, (1,), generator=generator(*place))) for place in places]
    assert len(set(draws)) == len(places)
    assert draws == [int(torch.randint(1 << 62, (1,), generator=generator(*place))) for place in places]
