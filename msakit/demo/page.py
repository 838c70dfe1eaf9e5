"""The page itself, in Gradio: it asks nobody outside this computer for anything, and keeps no upload."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msakit.core.errors import InputError, MissingExtraError
from msakit.demo.drawing import empty_page
from msakit.demo.respondent import CUTS, WHOLE

if TYPE_CHECKING:
    from types import ModuleType

    from msakit.demo.respondent import Respondent

LOCAL = "127.0.0.1"
_STYLE = Path(__file__).with_name("page.css")
_PORTS = range(7860, 7960)
_CLEAN_EVERY_S, _KEEP_S = 60, 15 * 60
_ONE_AT_A_TIME: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}


def require_gradio() -> None:
    """See that Gradio is there, without importing it.

    Raises:
        MissingExtraError: It is not installed.
    """
    if find_spec("gradio") is None:
        raise MissingExtraError("The demo page", "gradio", "demo")


def serve(
    respondent: Respondent,
    *,
    host: str = LOCAL,
    port: int | None = None,
    on_ready: Callable[[str], object] = lambda _: None,
) -> None:
    """Serve the page until the process is interrupted.

    Uploads and recordings lie in a folder of their own, are removed after a quarter of an hour, and all of
    them at the end.

    Args:
        respondent: Answers.
        host: The address to listen on.
        port: The port; None takes the first free one from 7860 on.
        on_ready: Called with the page's address once it can be asked for.

    Raises:
        MissingExtraError: Gradio is not installed.
        InputError: The port is taken, or the address is none of this computer's.
        KeyboardInterrupt: The page was served, and the user ended it.
    """
    require_gradio()
    with _listening(host, port) as listener, _private_folder():
        import fastapi  # comes with Gradio, as uvicorn does
        import gradio
        import uvicorn

        look = gradio.themes.Default(
            primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["monospace"]
        )
        application = gradio.mount_gradio_app(
            fastapi.FastAPI(openapi_url=None),
            build_page(gradio, respondent),
            path="/",
            ssr_mode=False,
            footer_links=[],
            theme=look,
            css_paths=_STYLE,
        )
        on_ready(f"http://{host}:{listener.getsockname()[1]}/")
        config = uvicorn.Config(application, log_level="error", timeout_graceful_shutdown=1)
        uvicorn.Server(config).run(sockets=[listener])


def _listening(host: str, port: int | None) -> socket.socket:
    for candidate in _PORTS if port is None else (port,):
        try:
            return socket.create_server((host, candidate))
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
    where = f"{host}:{port or f'{_PORTS.start} to {_PORTS.stop - 1}'}"
    raise InputError(
        f"The page cannot be served on {where}: {reason}.", hint="Give another --port or --host."
    )


@contextmanager
def _private_folder() -> Iterator[None]:
    """A folder for all that Gradio writes, gone in the end; set before Gradio is first imported."""
    with tempfile.TemporaryDirectory(prefix="msakit-demo-") as folder:
        settings = {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        before = {name: os.environ.get(name) for name in settings}
        os.environ.update(settings)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


def build_page(gradio: ModuleType, respondent: Respondent) -> Any:
    """The page's parts, and what happens when they are used."""
    cache = (_CLEAN_EVERY_S, _KEEP_S)
    with gradio.Blocks(title="msakit", analytics_enabled=False, delete_cache=cache) as page:
        gradio.HTML(respondent.introduction, padding=False)
        with gradio.Row():
            with gradio.Column(min_width=340):
                video, audio = _media(gradio)
                text = gradio.Textbox(label="Transcript", lines=2, elem_id="transcript")
                cut = gradio.Dropdown(list(CUTS.items()), value=WHOLE, label="Long recordings", elem_id="cut")
                with gradio.Row():
                    write = gradio.Button("Transcribe", interactive=respondent.transcriber is not None)
                    ask = gradio.Button("Answer", variant="primary")
                if respondent.silence:
                    gradio.Markdown(respondent.silence)
            with gradio.Column(min_width=340):
                answer = gradio.HTML(empty_page(), elem_id="answer", padding=False)
        figures = gradio.HTML(elem_id="figures", padding=False)
        ask.click(
            lambda video, audio, text, cut: respondent.answer(video or audio, text, cut),
            [video, audio, text, cut],
            [answer, figures],
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
