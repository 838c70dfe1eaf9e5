"""The page itself, in Gradio: it asks nobody outside this computer for anything, and keeps no upload."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msakit.core.errors import InputError, MissingExtraError
from msakit.demo.drawing import empty_page

if TYPE_CHECKING:
    from types import ModuleType

    from msakit.demo.respondent import Respondent

LOCAL = "127.0.0.1"
_STYLE = Path(__file__).with_name("page.css")
_PORTS = range(7860, 7960)
_CLEAN_EVERY_S, _KEEP_S = 60, 15 * 60
_ONE_AT_A_TIME: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}


def import_gradio() -> ModuleType:
    """Gradio, told to report nothing to anybody.

    Raises:
        MissingExtraError: It is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ModuleNotFoundError as error:
        raise MissingExtraError("The demo page", "gradio", "demo") from error
    return gradio


@contextmanager
def serve(
    respondent: Respondent, *, host: str = LOCAL, port: int | None = None, browser: bool = False
) -> Iterator[str]:
    """Serve the page while the context lasts; its address.

    Uploads and recordings lie in a folder of their own, are removed after a quarter of an hour, and all of
    them at the end.

    Args:
        respondent: Answers.
        host: The address to listen on.
        port: The port; None takes the first free one from 7860 on.
        browser: Open the page in the user's browser.

    Raises:
        MissingExtraError: Gradio is not installed.
        InputError: The port is taken, or the address is none of this computer's.
    """
    gradio = import_gradio()
    with tempfile.TemporaryDirectory(prefix="msakit-demo-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        page = build_page(gradio, respondent)
        try:
            _, address, _ = page.launch(
                server_name=host,
                server_port=port,
                inbrowser=browser,
                prevent_thread_lock=True,
                share=False,
                quiet=True,
                ssr_mode=False,
                footer_links=[],
                theme=gradio.themes.Default(
                    primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["monospace"]
                ),
                css_paths=_STYLE,
            )
            yield address
        except OSError as error:
            where = f"{host}:{port or f'{_PORTS.start} to {_PORTS.stop - 1}'}"
            raise InputError(f"The page cannot be served on {where}.", hint="Give another --port.") from error
        finally:
            page.close(verbose=False)
            del os.environ["GRADIO_TEMP_DIR"]


def build_page(gradio: ModuleType, respondent: Respondent) -> Any:
    """The page's parts, and what happens when they are used."""
    cache = (_CLEAN_EVERY_S, _KEEP_S)
    with gradio.Blocks(title="msakit", analytics_enabled=False, delete_cache=cache) as page:
        gradio.HTML(respondent.introduction, padding=False)
        with gradio.Row():
            with gradio.Column(min_width=340):
                video, audio = _media(gradio)
                text = gradio.Textbox(label="Transcript", lines=2, elem_id="transcript")
                with gradio.Row():
                    write = gradio.Button("Transcribe", interactive=respondent.transcriber is not None)
                    ask = gradio.Button("Answer", variant="primary")
                if respondent.silence:
                    gradio.Markdown(respondent.silence)
            with gradio.Column(min_width=340):
                answer = gradio.HTML(empty_page(), elem_id="answer", padding=False)
        maps = gradio.HTML(elem_id="maps", padding=False)
        ask.click(
            lambda video, audio, text: respondent.answer(video or audio, text),
            [video, audio, text],
            [answer, maps],
            api_visibility="private",
            **_ONE_AT_A_TIME,
        )
        write.click(
            lambda video, audio: respondent.transcribe(video or audio),
            [video, audio],
            [text, answer],
            api_visibility="private",
            **_ONE_AT_A_TIME,
        )
    return page


def _media(gradio: ModuleType) -> tuple[Any, Any]:
    """A video or a recording of sound; giving one takes the other away."""
    with gradio.Tab("Video"):
        webcam = gradio.WebcamOptions(mirror=False)
        video = gradio.Video(
            sources=["upload", "webcam"],
            webcam_options=webcam,
            include_audio=True,
            show_label=False,
            elem_id="video",
        )
    with gradio.Tab("Sound"):
        audio = gradio.Audio(
            sources=["upload", "microphone"], type="filepath", show_label=False, elem_id="audio"
        )
    for given, other in ((video, audio), (audio, video)):
        given.input(lambda: None, None, other, api_visibility="private")
    return video, audio
