import pytest
import torch

from simscaleai.errors import SimScaleError
from simscaleai.models.language import CHARACTERS, MIN_VOCAB_SIZE, PADDING, UNKNOWN, tokenize
from simscaleai.models.vla import SimpleLanguageEncoder


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return SimpleLanguageEncoder(max_text_len=32, embed_dim=24, num_heads=2, num_layers=2).eval()


def test_vocabulary_is_the_printed_one():
    assert CHARACTERS == " abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
    assert len(CHARACTERS) == len(set(CHARACTERS)) == 43


def test_characters_padding_and_unknown_are_distinct():
    indices = tokenize([CHARACTERS]).flatten().tolist()
    assert indices == list(range(1, 44))
    assert PADDING == 0
    assert tokenize(["é"]).item() == UNKNOWN == 44
    assert MIN_VOCAB_SIZE == 45


def test_case_does_not_matter():
    assert torch.equal(tokenize(["Pick UP"]), tokenize(["pick up"]))


def test_texts_are_padded_to_the_longest():
    tokens = tokenize(["ab", "abcd", ""])
    assert tokens.shape == (3, 4)
    assert tokens.tolist() == [[2, 3, 0, 0], [2, 3, 4, 5], [0, 0, 0, 0]]


def test_output_shape(encoder):
    assert encoder(["pick up", "place it there"]).shape == (2, 14, 24)
    assert encoder("pick up").shape == (1, 7, 24)


def test_padding_never_changes_the_features(encoder):
    alone, beside = encoder(["pick"]), encoder(["pick", "put the red cube on the mat"])
    torch.testing.assert_close(alone[0], beside[0, :4], rtol=1e-4, atol=1e-5)
    padded = torch.nn.functional.pad(tokenize(["pick"]), (0, 20))
    assert torch.equal(encoder(padded), alone)


def test_order_of_characters_matters(encoder):
    assert not torch.allclose(encoder("ab").mean(1), encoder("ba").mean(1), atol=1e-4)


def test_unknown_characters_are_read_and_not_padding(encoder):
    assert encoder("aéb").shape == (1, 3, 24)
    assert not torch.allclose(encoder("aéb")[:, 0], encoder("ab")[:, 0], atol=1e-6)


def test_tokens_equal_their_text(encoder):
    texts = ["pick", "place it"]
    assert torch.equal(encoder(tokenize(texts).to(torch.int32)), encoder(texts))


def test_empty_texts_are_finite(encoder):
    assert encoder([""]).isfinite().all()
    assert encoder(["", "pick"]).isfinite().all()


def test_a_text_that_fits_exactly(encoder):
    assert encoder("a" * 32).shape == (1, 32, 24)


def test_a_text_that_is_too_long_is_an_error_not_a_cut(encoder):
    with pytest.raises(SimScaleError, match=r"33 characters.*max_text_len=32"):
        encoder(["pick", "a" * 33])


def test_vocab_size_bounds_the_tokens():
    assert SimpleLanguageEncoder(vocab_size=45, embed_dim=8, num_heads=2)("any é text 9").isfinite().all()
    with pytest.raises(SimScaleError, match=r"at least 45 \(43 characters, padding, unknown\), got 44"):
        SimpleLanguageEncoder(vocab_size=44)


@pytest.mark.parametrize(
    "tokens",
    [
        torch.tensor([[1, 1000]]),
        torch.tensor([[-1, 3]]),
        torch.tensor([1, 2]),
        torch.tensor([[1.0]]),
        torch.tensor([[True]]),
        torch.zeros(2, 0, dtype=torch.int64),
    ],
)
def test_wrong_tokens_are_refused(encoder, tokens):
    with pytest.raises(SimScaleError, match="language tokens must be"):
        encoder(tokens)
