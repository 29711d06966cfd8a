import base64
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from tiny_models import square_image
from tiny_regions import Thresholds, sam_pictures, save_sam
from tiny_speakers import save_blip, save_llama, save_llava

from m3_ros.errors import EncoderError
from m3_ros.features import Encoder, extract, load_encoder
from m3_ros.features.captions import KEY_VARIABLE, EndpointCaptioner, load_captioner
from m3_ros.features.compute import Compute
from m3_ros.features.encoder import PromptEncoder
from m3_ros.features.language import LanguageEncoder, LanguageSettings, crop
from m3_ros.features.phrase_vectors import SentenceVectors, load_phrase_vectors
from m3_ros.features.segmentation import SegmentationSettings, Segmenter
from m3_ros.geometry.camera import Camera
from m3_ros.recording.frame import Frame

FLOAT = Compute(precision="float32")


class ColourNamer:
    """Stands in for a captioner: names the colour in the middle of what it is shown."""

    version = "1"

    def __init__(self):
        self.shown = []

    def caption(self, rgb):
        self.shown.append(rgb)
        middle = rgb[rgb.shape[0] // 2, rgb.shape[1] // 2].astype(int)
        return "a yellow chair" if middle[0] > 200 else ""


def known_encoder(settings=None):
    segmenter = Segmenter(Thresholds(), sam_pictures(), FLOAT, SegmentationSettings(points_per_side=2))
    return LanguageEncoder(segmenter, ColourNamer(), SentenceVectors(), settings=settings)


@pytest.mark.parametrize(("width", "height"), [(321, 239), (200, 420), (600, 200)])
def test_each_region_has_its_caption_and_is_found_by_its_words(width, height):
    encoder = known_encoder()
    seen = encoder.encode_image(square_image(width, height, 30, 60, 80))
    u, v = torch.tensor([70.0, width - 10.0]), torch.tensor([100.0, height - 10.0])
    h, w = seen.index.shape
    inside = int(seen.index[int(100 * h / height), int(70 * w / width)])
    assert seen.captions[inside] == "a yellow chair"
    vectors, valid = seen.at(u, v)
    assert valid.tolist() == [True, False]  # nothing was said about the ground: it has no vector
    chair, lamp = encoder.encode_text(["find the yellow chair", "lamp"])
    assert vectors[0] @ chair > 0.9
    assert vectors[0] @ lamp < 0.6


def test_a_visual_prompt_becomes_the_words_for_what_it_means():
    encoder = known_encoder()
    image = square_image(320, 240, 30, 60, 80)
    assert isinstance(encoder, PromptEncoder)
    query = encoder.encode_prompt(image, point=(70.0, 100.0))
    assert len(encoder._captioner.shown) == 1
    assert torch.allclose(query, encoder.encode_text(["a yellow chair"])[0], atol=1e-5)
    encoder._captioner.caption = lambda rgb: ""
    with pytest.raises(EncoderError, match="nothing to say"):
        encoder.encode_prompt(image, point=(70.0, 100.0))


def test_only_the_largest_regions_are_put_into_words():
    encoder = known_encoder(LanguageSettings(max_regions=1))
    seen = encoder.encode_image(square_image(320, 240, 30, 60, 80))
    assert len(encoder._captioner.shown) == 1
    assert seen.captions == ("",)
    assert not seen.valid.any()


def test_a_picture_without_regions_has_no_words():
    never = SegmentationSettings(points_per_side=1, min_score=1.0)
    encoder = LanguageEncoder(Segmenter(Thresholds(), sam_pictures(), FLOAT, never), ColourNamer(), SentenceVectors())
    seen = encoder.encode_image(square_image(320, 240, 30, 60, 80))
    assert seen.captions == ("",)
    assert not seen.valid.any()


def test_captions_are_kept_with_cached_features(tmp_path):
    encoder, camera = known_encoder(), Camera.from_fov(320, 240, 1.0)
    frames = [Frame(0, square_image(320, 240, 30, 60, 80), camera, np.eye(4))]
    first, again = (next(iter(extract(frames, encoder, tmp_path))) for _ in range(2))
    assert len(encoder._captioner.shown) == len(first.captions)  # said once only
    assert first.captions == again.captions
    assert "a yellow chair" in first.captions


@pytest.mark.parametrize(("left", "top", "w", "h"), [(50, 40, 100, 20), (0, 0, 30, 90), (300, 230, 20, 10)])
def test_a_crop_is_a_square_around_the_region(left, top, w, h):
    image = np.zeros((240, 320, 3), np.uint8)
    image[top : top + h, left : left + w] = 255
    mask = torch.from_numpy(image[::2, ::2, 0] > 0)
    settings = LanguageSettings(margin=0.1, least_px=48)
    shown = crop(image, mask, settings)
    assert shown.shape[0] == shown.shape[1] == max(48, round(1.2 * max(w, h)))
    assert (shown == 255).all(-1).sum() == w * h  # all of it, whatever lies beyond the edge
    v, u = np.nonzero((shown == 255).all(-1))
    assert abs(u.mean() + 0.5 - shown.shape[1] / 2) <= 1
    assert abs(v.mean() + 0.5 - shown.shape[0] / 2) <= 1


@pytest.fixture(scope="module", params=[save_blip, save_llava])
def speaker(request, tmp_path_factory):
    return request.param(tmp_path_factory.mktemp("speaker"))


def noise(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (48, 64, 3)).astype(np.uint8)


def test_any_local_model_captions_in_one_line_and_always_the_same(speaker):
    captioner = load_captioner(str(speaker), "language", FLOAT)
    captions = [captioner.caption(noise(i)) for i in range(4)]
    assert all(captions)
    assert not any("\n" in caption or "[" in caption or "<" in caption for caption in captions)
    assert len(set(captions)) > 1
    again = load_captioner(str(speaker), "language", FLOAT)
    assert [again.caption(noise(i)) for i in range(4)] == captions
    assert again.version == captioner.version
    assert "describe what you see" not in captions[0]  # the question is not part of the answer


def test_captions_are_what_the_library_itself_says(tmp_path):
    from PIL import Image
    from transformers import BlipForConditionalGeneration, BlipProcessor

    folder = save_blip(tmp_path)
    model, processor = (kind.from_pretrained(folder) for kind in (BlipForConditionalGeneration, BlipProcessor))
    inputs = processor(images=Image.fromarray(noise()), return_tensors="pt")
    said = model.eval().generate(**inputs, max_new_tokens=20, do_sample=False)[0]
    wanted = " ".join(processor.decode(said, skip_special_tokens=True).split())
    assert load_captioner(str(folder), "language", FLOAT).caption(noise()) == wanted


def test_half_precision_would_say_nearly_the_same(speaker):
    full, half = (load_captioner(str(speaker), "language", Compute(precision=p)) for p in ("float32", "bfloat16"))
    assert half.caption(noise())
    assert half.version == full.version
    said = []
    for captioner in (full, half):
        inputs = captioner._inputs(noise()).to(captioner._network.device, captioner._network.dtype)
        out = captioner._network.generate(
            **inputs, max_new_tokens=1, do_sample=False, return_dict_in_generate=True, output_logits=True
        )
        said.append(out.logits[0].float())
    assert torch.cosine_similarity(*said) > 0.99


def test_captions_do_not_depend_on_what_was_shown_before(speaker):
    captioner = load_captioner(str(speaker), "language", FLOAT)
    first = captioner.caption(noise())
    captioner.caption(noise(1))
    assert captioner.caption(noise()) == first


class ChatServer(ThreadingHTTPServer):
    """A real server on the loopback that speaks just enough of the protocol."""

    def __init__(self):
        self.requests, self.answer = [], (200, {"choices": [{"message": {"content": " A red\n chair. "}}]})
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.requests.append((self.path, dict(self.headers), json.loads(body)))
                status, content = server.answer
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments):
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def server():
    with ChatServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        running.address = f"http://127.0.0.1:{running.server_address[1]}/v1#tiny-eyes"
        yield running
        running.shutdown()
        thread.join()


def test_a_server_is_shown_the_very_pixels_and_its_answer_becomes_one_line(server, monkeypatch):
    from PIL import Image

    monkeypatch.setenv(KEY_VARIABLE, "open sesame")
    captioner = load_captioner(server.address, "language", FLOAT)
    assert captioner.caption(noise()) == "A red chair."
    path, headers, body = server.requests[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer open sesame"
    assert body["model"] == "tiny-eyes"
    assert body["temperature"] == 0
    picture, question = body["messages"][0]["content"]
    data = base64.b64decode(picture["image_url"]["url"].removeprefix("data:image/png;base64,"))
    assert np.array_equal(np.array(Image.open(io.BytesIO(data))), noise())
    assert question["type"] == "text"


def test_no_key_is_sent_where_none_is_set(server, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    EndpointCaptioner(server.address).caption(noise())
    assert "Authorization" not in server.requests[0][1]


@pytest.mark.parametrize(("answer", "message"), [
    ((401, {"error": "who are you?"}), r"refused \(401\).*who are you"),
    ((200, b"<html>"), "does not answer as a chat server"),
    ((200, {"choices": []}), "does not answer as a chat server"),
])  # fmt: skip
def test_what_a_server_does_wrong_is_said(server, answer, message):
    server.answer = answer
    with pytest.raises(EncoderError, match=message):
        EndpointCaptioner(server.address).caption(noise())


def test_a_server_that_is_not_there_and_one_without_a_model_are_errors(server):
    with pytest.raises(EncoderError, match="#MODEL"):
        EndpointCaptioner("http://127.0.0.1:1/v1")
    with pytest.raises(EncoderError, match="cannot be reached"):
        EndpointCaptioner("http://127.0.0.1:1/v1#m").caption(noise())


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return save_llama(tmp_path_factory.mktemp("llama"))


def test_a_phrase_is_the_mean_hidden_state_of_its_words_two_thirds_up(llama):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    vectors = load_phrase_vectors(str(llama), "language", FLOAT)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(llama).eval(), AutoTokenizer.from_pretrained(llama)
    with torch.no_grad():
        hidden = model(**tokenizer("red chair", return_tensors="pt"), output_hidden_states=True).hidden_states[2][0]
    wanted = torch.nn.functional.normalize(hidden.mean(0), dim=0)
    assert torch.allclose(vectors.embed(["red chair"])[0], wanted, atol=1e-5)
    assert vectors.dim == 16


def test_phrases_have_the_same_vectors_alone_and_in_a_batch(llama):
    vectors = load_phrase_vectors(str(llama), "language", FLOAT)
    phrases = ["red chair", "a blue lamp on the table .", "cup"]
    alone = torch.cat([vectors.embed([p]) for p in phrases])
    assert torch.allclose(vectors.embed(phrases), alone, atol=1e-5)
    assert torch.allclose(torch.linalg.vector_norm(alone, dim=1), torch.ones(3), atol=1e-5)


def test_half_precision_gives_like_vectors(llama):
    full, half = (load_phrase_vectors(str(llama), "language", Compute(precision=p)) for p in ("float32", "bfloat16"))
    assert float((full.embed(["red chair"]) * half.embed(["red chair"])).sum()) > 0.99
    assert full.version == half.version


def test_an_empty_phrase_has_no_vector(llama):
    with pytest.raises(EncoderError, match="empty"):
        load_phrase_vectors(str(llama), "language", FLOAT).embed(["chair", " "])


def test_saved_models_load_by_path_and_see_whole_frames(llama, tmp_path):
    blip, sam = tmp_path / "blip", tmp_path / "sam"
    blip.mkdir()
    spec = f"language:{save_blip(blip)}+{save_sam(sam)}+{llama}"
    encoder = load_encoder(spec, FLOAT)
    assert isinstance(encoder, Encoder)
    assert (encoder.name, encoder.dim) == (spec, 16)
    assert encoder.version == load_encoder(spec, FLOAT).version
    assert encoder.version != load_encoder(f"language:{blip}+{sam}", FLOAT).version
    seen = encoder.encode_image(noise())
    assert seen.image_size == (64, 48)
    assert len(seen.captions) == len(seen.features) > 1
    assert torch.isfinite(seen.features).all()
