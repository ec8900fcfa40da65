"""Pages in the Chromium of the system. A test module takes `browser` and `visit` and says which `files` there are."""

import shutil

import pytest
from notebooks import HANGS

CHROMIUM = shutil.which("chromium")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
in_browser = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="there is no program `chromium`")]
WIDTHS = {"desk": (1280, 800), "phone": (390, 844)}
CUT = """() => [...document.querySelectorAll("body *")].filter(e => {
  const box = e.getBoundingClientRect();
  if (!box.width || e.closest(".skip") || e.closest("svg")) return false;
  const region = e.closest(".scroll");
  const outside = (!region || region === e) && (box.right > innerWidth + 1 || box.left < -1);
  const inside = !region && e.clientWidth && e.scrollWidth > e.clientWidth + 1;
  return outside || inside;
}).map(e => e.outerHTML.slice(0, 90))"""


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET, timeout=1000 * HANGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, files):
    """Open a page and note what it asks for and complains about."""
    contexts = []

    def visit(name, width="desk", **settings):
        size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
        contexts.append(browser.new_context(viewport=size, **settings))
        contexts[-1].set_default_timeout(1000 * HANGS)
        page = contexts[-1].new_page()
        page.asked, page.complaints = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("dialog", lambda dialog: page.complaints.append(dialog.message))
        page.goto(files[name].as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        return page

    yield visit
    for context in contexts:
        context.close()


def faults_of(page, file):
    """Return what a page asks for besides itself, what it complains about and what it cuts."""
    page.wait_for_load_state("networkidle")
    asked = [url for url in page.asked if not url.startswith("data:") and url != file.as_uri()]
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return asked + page.complaints + page.evaluate(CUT) + ([f"{wide} px too wide"] if wide else [])


def barriers_of(page):
    """Return what axe finds; the page must have been opened with bypass_csp=True."""
    from axe_playwright_python.sync_playwright import Axe

    tags = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
    rules = {"target-size": {"enabled": True}}  # off in axe unless asked for
    found = Axe().run(page, options={"runOnly": tags, "rules": rules}).response
    passed = {rule["id"] for rule in found["passes"]}
    blind = [] if len(passed) > 15 and "color-contrast" in passed else [f"axe saw only {passed}"]
    return blind + [(rule["id"], node["html"]) for rule in found["violations"] for node in rule["nodes"]]


def pictures_of(page):
    """Return, for each picture, folded away or not, its words, and whether it is drawn and not distorted."""
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    drawn = """async e => await e.decode().then(() => true, () => false) && e.complete && e.naturalWidth > 100
                    && Math.abs(e.naturalWidth / e.naturalHeight - e.width / e.height) < .05"""
    return [(picture.get_attribute("alt").strip(), picture.evaluate(drawn)) for picture in page.locator("img").all()]
