"""The page of the live view in a real browser: what it shows, what it must not run, what it asks for."""

import html
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium")
EXAMPLE = pathlib.Path(os.environ.get("TRIPTYCH_MONITOR_EXAMPLE",
                                      ROOT / "build/release/tests/launcher/monitor_example"))
MISSING = "no chromium" if CHROMIUM is None else "no monitor_example" if not EXAMPLE.exists() else ""


def browse(url: str, profile: str, *options: str, seconds: int = 4) -> tuple[str, str]:
    """The document after `seconds` of the page's own time, and what the browser logged."""
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", f"--user-data-dir={profile}", "--window-size=1200,900", *options,
         "--enable-logging=stderr", "--log-level=0", f"--virtual-time-budget={seconds * 1000}", "--dump-dom", url],
        capture_output=True, text=True, timeout=120, check=True)
    console = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return done.stdout, console


def text_of(document: str, name: str) -> str:
    """The text inside the element with this id, up to its end tag."""
    found = re.search(rf'id="{name}"[^>]*>([^<]*)<', document)
    return found.group(1) if found else ""


class Example:
    """monitor_example, which ends after so many answers (0: at the end of the block)."""

    def __init__(self, answers: int = 0):
        self.process = subprocess.Popen([EXAMPLE, "0"] + ([str(answers)] if answers else []),
                                        stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> str:
        return self.process.stdout.readline().strip()

    def __exit__(self, *ignored):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@unittest.skipIf(MISSING, f"skipped: {MISSING}")
class ThePage(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.addCleanup(folder.cleanup)
        self.profile = folder.name

    def test_shows_the_run(self):
        with Example() as url:
            document, console = browse(url, self.profile)
        self.assertEqual(console, "", "no script, style or request was refused")
        self.assertEqual(text_of(document, "steps"), "Step 3,217 of 12,000")
        self.assertRegex(text_of(document, "eta"), r"^26\.8 %, 2 h 32 min left, until ([A-Z].* )?\d\d:\d\d$")
        self.assertEqual(text_of(document, "rate"), "486.7")
        self.assertEqual(text_of(document, "goodput"), "97.3 %")
        self.assertEqual(text_of(document, "state"), "training")
        self.assertEqual(document.count('<div class="rank '), 8)
        self.assertIn("gone for 1 min 13 s", document)
        self.assertIn('class="busy" style="width: 86%;"', document)
        self.assertRegex(document, r'<path d="M[\d. L]{2000,}" class="smooth">')
        self.assertRegex(document, r'<div id="gone"[^>]* hidden')
        for tick in ("<text[^>]*>0<", "<text[^>]*>1,000<", "<text[^>]*>5<"):
            self.assertRegex(document, tick)

    def test_names_are_text(self):
        with Example() as url:
            document, _ = browse(url, self.profile)
        self.assertEqual(document.count("<script"), 1)
        self.assertNotIn("<img", document)
        self.assertIn("&lt;script&gt;document.title='broken'&lt;/script&gt;", document)
        self.assertRegex(document, "<title>27 % &lt;script&gt;")

    def test_says_that_the_launcher_is_gone(self):
        with Example(answers=2) as url:
            document, _ = browse(url, self.profile, seconds=20)
        self.assertRegex(text_of(document, "gone"), r"^No answer since \d\d:\d\d:\d\d: the launcher has ended")
        self.assertNotRegex(document, r'<div id="gone"[^>]* hidden')
        self.assertEqual(text_of(document, "state"), "no answer")
        self.assertEqual(text_of(document, "steps"), "Step 3,217 of 12,000", "what it said last stays")

    def test_another_page_may_not_look(self):
        with Example() as url:
            port = url.rstrip("/").rsplit(":", 1)[1]
            rebound, _ = browse(f"http://evil.example:{port}/state.json", self.profile,
                                "--host-resolver-rules=MAP evil.example 127.0.0.1")
            page = pathlib.Path(self.profile) / "page.html"
            page.write_text(f"<body><p id=out>waiting</p><script>fetch('{url}state.json').then(a => a.text())"
                            ".then(t => out.textContent = t, e => out.textContent = 'refused')</script>")
            foreign, _ = browse(page.as_uri(), self.profile)
        self.assertIn("this is localhost", rebound)
        self.assertNotIn("3217", rebound)
        self.assertEqual(text_of(foreign, "out"), "refused")

    def overflow(self, document: str, width: int) -> int:
        """By how many pixels the document is wider than a frame of this width: a window may not be so narrow."""
        still = re.sub("<script>.*</script>", "", document, flags=re.DOTALL)
        page = pathlib.Path(self.profile) / "page.html"
        page.write_text(f'<meta charset="utf-8"><iframe style="width: {width}px; height: 900px; border: 0" '
                        f'srcdoc="{html.escape(still)}"></iframe>'
                        "<script>onload = () => { const root = document.querySelector('iframe').contentDocument."
                        "documentElement; document.body.id = root.scrollWidth + '_' + root.clientWidth; }</script>")
        measured, _ = browse(page.as_uri(), self.profile)
        wanted, inner = map(int, re.search(r'<body[^>]* id="(\d+)_(\d+)"', measured).groups())
        self.assertGreater(inner, width - 20)  # a scroll bar at most
        return wanted - inner

    def test_fits_a_telephone(self):
        with Example() as url:
            document, _ = browse(url, self.profile)
        for width in (360, 1600):
            self.assertLessEqual(self.overflow(document, width), 0, f"{width} px")
        wide = document.replace("<main>", '<main><div style="width: 500px">too wide</div>')
        self.assertGreater(self.overflow(wide, 360), 0, "the ruler measures")


if __name__ == "__main__":
    unittest.main()
