import numpy as np
import torch

from longtail.training import predict


def test_predict_sees_clean_images_whatever_the_batch(run, dataset):
    classifier, _ = run(epochs=1)
    classifier.train()
    split = dataset.split("test")
    logits = predict(classifier, split, 64)
    assert logits.shape == (500, 10)
    assert logits.dtype == np.float32
    assert not classifier.training
    with torch.no_grad():
        whole = classifier(classifier.preprocess(torch.from_numpy(np.array(split.packed)))).numpy()
    np.testing.assert_allclose(logits, whole, rtol=1e-4, atol=1e-4)
