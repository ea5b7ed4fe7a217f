"""Take pictures of TensorBoard's tabs for a run folder with a headless Chromium.

python docs/_tools/screenshot.py RUN PICTURE.png [--tab custom_scalars]
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PORT = 6099
START_SECONDS = 60


def wait_for(url: str, board: "subprocess.Popen[bytes]") -> None:
    """Wait until TensorBoard at `url` lists the runs."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and board.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/data/runs") as answer:
                if answer.read().strip() != b"[]":
                    return
        except urllib.error.URLError:
            pass
        time.sleep(0.5)
    sys.exit(f"TensorBoard did not show any run within {START_SECONDS} seconds")


def main() -> None:
    """Start TensorBoard on the loopback interface and take a picture of one of its tabs."""
    parser = argparse.ArgumentParser(description="Take a picture of a tab of TensorBoard for a run folder.")
    parser.add_argument("run", type=Path, help="the run folder, or one of many runs")
    parser.add_argument("picture", type=Path, help="the .png file to write")
    parser.add_argument("--tab", default="custom_scalars", help="scalars, custom_scalars, hparams, text, ...")
    parser.add_argument("--size", default="1400,900", help="width,height of the window in pixels")
    parser.add_argument(
        "--seconds", type=int, default=20, help="seconds of the page's clock before the picture"
    )
    arguments = parser.parse_args()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"none of {', '.join(BROWSERS)} is installed: apt-get install chromium")
    url = f"http://127.0.0.1:{PORT}"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", arguments.run.absolute().name]
    command += ["--host", "127.0.0.1", "--port", str(PORT)]
    board = subprocess.Popen(command, cwd=arguments.run.absolute().parent, stderr=subprocess.DEVNULL)
    try:
        wait_for(url, board)
        with tempfile.TemporaryDirectory() as profile:
            options = [f"--user-data-dir={profile}", f"--window-size={arguments.size}"]
            options += [
                f"--screenshot={arguments.picture.absolute()}",
                f"--virtual-time-budget={arguments.seconds}000",
            ]
            subprocess.run(
                [browser, *FLAGS, *options, f"{url}/#{arguments.tab}"], check=True, stderr=subprocess.DEVNULL
            )
    finally:
        board.terminate()
        board.wait()


if __name__ == "__main__":
    main()
