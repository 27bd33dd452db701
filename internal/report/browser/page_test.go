// Package browser drives the pages of reports and of labs in a headless Chromium. It is a module of its own: nothing else needs the browser's protocol.
package browser

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// tab is one page in the browser, with what it complained of and asked for.
type tab struct {
	*testing.T
	ctx      context.Context
	mu       sync.Mutex
	problems []string
	requests []string
}

// open starts a browser at a page of our own making, served from this machine.
func open(t *testing.T, pages, path string, wide, high int64) *tab {
	t.Helper()
	server := httptest.NewServer(http.FileServer(http.Dir(pages)))
	t.Cleanup(server.Close)
	b := launch(t, wide, high, func(url string) bool {
		return strings.TrimSuffix(url, "#") == server.URL+strings.SplitN(path, "#", 2)[0] || strings.HasPrefix(url, "data:") || strings.HasPrefix(url, "file://"+pages+"/")
	})
	b.do(chromedp.Navigate(server.URL + path))
	return b
}

// launch starts a browser, in which nothing may be complained of and nothing be asked for but what is mine.
func launch(t *testing.T, wide, high int64, mine func(url string) bool) *tab {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.WindowSize(int(wide), int(high)))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &tab{T: t, ctx: ctx}
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil { // the browser lives as long as the first call's context
		t.Fatal(err)
	}
	if err := chromedp.Listen(ctx, func(ev any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := ev.(type) {
		case *runtime.EventExceptionThrown:
			b.problems = append(b.problems, fmt.Sprintf("%s: %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
		case *runtime.EventConsoleAPICalled:
			b.problems = append(b.problems, fmt.Sprintf("%s: %+v", e.Type, e.Args))
		case *log.EventEntryAdded:
			b.problems = append(b.problems, fmt.Sprintf("%s: %s", e.Entry.Level, e.Entry.Text))
		case *network.EventRequestWillBeSent:
			b.requests = append(b.requests, e.Request.URL)
		}
	}); err != nil {
		t.Fatal(err)
	}
	call(b, network.Enable, network.EnableParams{})
	call(b, log.Enable, cdp.Empty{})
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: wide, Height: high, DeviceScaleFactor: 1, Mobile: wide < 500})
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, p := range b.problems {
			t.Errorf("the page complains: %s", p)
		}
		for _, r := range b.requests {
			if !mine(r) {
				t.Errorf("the page asks for %s", r)
			}
		}
	})
	return b
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.Fatal(err)
	}
}

// call sends one command of the protocol.
func call[P, R any](b *tab, cmd cdp.Command[P, R], params P) R {
	b.Helper()
	r, err := chromedp.Call(b.ctx, cmd, params)
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// js runs a statement.
func js(s string) chromedp.Action[chromedp.Void] { return chromedp.Evaluate[chromedp.Void](s) }

// click is one of the mouse, in the middle of the first that a selector finds.
func (b *tab) click(sel string) {
	b.Helper()
	at := eval[[]float64](b, fmt.Sprintf(`(e => { e.scrollIntoView({block: 'center'}); let r = e.getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2] })(document.querySelector(%q))`, sel))
	b.do(chromedp.MouseClickXY(at[0], at[1]))
}

// typed are keys into what a selector finds.
func (b *tab) typed(sel, keys string) {
	b.Helper()
	b.do(focus(sel), chromedp.KeyEvent(keys))
}

func focus(sel string) chromedp.Action[chromedp.Void] {
	return js(fmt.Sprintf(`document.querySelector(%q).focus()`, sel))
}

// eval answers what an expression is.
func eval[T any](b *tab, expression string) T {
	b.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits for an expression to be true.
func (b *tab) until(expression string) {
	b.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingTimeout(30*time.Second))); err != nil {
		b.Fatalf("%s: %v", expression, err)
	}
}

// scratch is where the tests' pages and server are made.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "sickbay-pages-"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(scratch)
	os.Exit(code)
}

// report makes the pages, by the test beside the code that writes them.
var report = sync.OnceValues(func() (string, error) {
	cmd := exec.Command("go", "test", "-count=1", "-run", "^TestPagesForLookingAt$", ".")
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "SICKBAY_PAGES="+scratch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make the pages: %w: %s", err, out)
	}
	return scratch, nil
})

func pages(t *testing.T) string {
	t.Helper()
	needsBrowser(t)
	dir, err := report()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func needsBrowser(t *testing.T) {
	t.Helper()
	found := false
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "headless-shell"} {
		if _, err := exec.LookPath(name); err == nil {
			found = true
		}
	}
	if !found {
		t.Skip("there is no Chromium here: CONTRIBUTING.md says how to get one")
	}
}

const large = "/large/report.html"

func visible(what string) string {
	return fmt.Sprintf(`Array.from(document.querySelectorAll(%q)).filter(e => e.offsetParent !== null).length`, what)
}

func TestFilterSearchAndSort(t *testing.T) {
	b := open(t, pages(t), large, 1280, 900)
	if n := eval[int](b, visible(".overview tbody tr")); n != 60 {
		t.Errorf("%d scenarios at first", n)
	}
	b.click(`.filters [data-which="failed"]`)
	rows, sections := eval[int](b, visible(".overview tbody tr")), eval[int](b, visible("section.run"))
	if rows == 0 || rows == 60 || rows != sections || eval[int](b, `document.querySelectorAll('.overview tbody tr:not([hidden]):not([data-v="failed"])').length`) != 0 {
		t.Errorf("failed only: %d rows, %d runs", rows, sections)
	}
	b.typed(`.filters input`, "clock-cert-11")
	if n := eval[int](b, visible(".overview tbody tr")); n != 1 {
		t.Errorf("searched: %d", n)
	}
	b.typed(`.filters input`, "nothing has this")
	b.click(`.none .reset`)
	if n := eval[int](b, visible(".overview tbody tr")); n != 60 {
		t.Errorf("%d after everything is shown again", n)
	}
	first := `document.querySelector('.overview tbody tr').dataset`
	if v := eval[string](b, first+`.v`); v != "failed" {
		t.Errorf("the first is %s", v)
	}
	b.click(`.overview th[data-by="name"]`)
	if v := eval[string](b, first+`.run`); !strings.HasPrefix(v, "apparmor") {
		t.Errorf("by name the first is %s", v)
	}
	if v := eval[string](b, `document.querySelector('section.run').id`); !strings.HasPrefix(v, "apparmor") {
		t.Errorf("by name the first run is %s", v)
	}
}

func TestLinkOpensItsRun(t *testing.T) {
	b := open(t, pages(t), large+"#pleg-disk", 1280, 900)
	inView := func(id string) string {
		return fmt.Sprintf(`(e => { let r = e.getBoundingClientRect(); return e.querySelector('details').open && r.top > -20 && r.top < innerHeight / 2 })(document.getElementById(%q))`, id)
	}
	b.until(inView("pleg-disk"))
	b.do(js(`location.hash = '#clock-skew'`))
	b.until(inView("clock-skew"))
	b.do(js(`document.querySelector('#clock-skew details').open = false; scrollTo(0, 0); document.querySelector('.overview a[href="#clock-skew"]').click()`))
	b.until(inView("clock-skew"))
	// A run that is filtered away is shown by its link.
	b.click(`.filters [data-which="failed"]`)
	b.do(js(`location.hash = '#pleg-disk'`))
	b.until(inView("pleg-disk"))
}

func TestZoomByKeysStepsAndBrush(t *testing.T) {
	b := open(t, pages(t), "/one/report.html", 1280, 900)
	b.until(`document.querySelectorAll('.chart .m').length > 20`)
	text := func() string { return eval[string](b, `document.querySelector('.range').textContent`) }
	whole := text()
	b.do(focus(`.chart`), chromedp.KeyEvent("+"), chromedp.KeyEvent("+"))
	in := text()
	if !strings.Contains(in, " of ") || in == whole {
		t.Errorf("zoomed in: %q, whole %q", in, whole)
	}
	b.do(chromedp.KeyEvent(kb.ArrowRight, chromedp.KeyModifiers(kb.ModifierShift)))
	if moved := text(); moved == in {
		t.Error("shift and an arrow do not move")
	}
	b.do(chromedp.KeyEvent("0"))
	if text() != whole {
		t.Errorf("0 is %q", text())
	}
	b.do(js(`document.querySelector('.chart [data-step="inject"]').dispatchEvent(new MouseEvent('click', {bubbles: true}))`))
	if s := text(); !strings.HasPrefix(s, "14.2s – 21.8s") {
		t.Errorf("the step inject is %q", s)
	}
	b.click(`[data-zoom="all"]`)
	if text() != whole {
		t.Errorf("the whole run is %q", text())
	}
	b.do(js(`document.querySelector('.chart').scrollIntoView({block: 'center'})`))
	at := eval[[]float64](b, `(r => [r.left, r.top + 200])(document.querySelector('.chart').getBoundingClientRect())`)
	b.do(chromedp.MouseEvent("mousePressed", at[0]+300, at[1], chromedp.ButtonLeft, chromedp.ClickCount(1)),
		chromedp.MouseEvent("mouseMoved", at[0]+350, at[1], chromedp.ButtonLeft), chromedp.MouseEvent("mouseMoved", at[0]+420, at[1], chromedp.ButtonLeft),
		chromedp.MouseEvent("mouseReleased", at[0]+420, at[1], chromedp.ButtonLeft, chromedp.ClickCount(1)))
	if s := text(); !strings.Contains(s, " of ") {
		t.Errorf("after a brush: %q", s)
	}
	// From mark to mark, and to the line.
	b.do(focus(`.chart`), chromedp.KeyEvent("0"), chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowRight))
	said := eval[string](b, `document.querySelector('p.mark').textContent`)
	b.do(chromedp.KeyEvent(kb.Enter))
	if line := eval[string](b, `document.querySelector('.log .hit .x').textContent`); line == "" || !strings.Contains(said, line[:min(20, len(line))]) {
		t.Errorf("enter goes to %q from %q", line, said)
	}
}

func TestEvidenceLeadsToItsLine(t *testing.T) {
	b := open(t, pages(t), "/one/report.html", 1280, 900)
	b.until(`document.querySelectorAll('.log .l').length > 20`)
	// The line is found although its kind is filtered away.
	b.click(`.lines button[data-kind="log"]`)
	b.typed(`.lines input`, "no such line")
	b.until(`document.querySelectorAll('.log .l').length === 0`)
	b.do(js(`Array.from(document.querySelectorAll('.finding tr')).find(r => r.textContent.includes('journal/kubelet')).querySelector('a.line').click()`))
	b.until(`document.querySelector('.log .hit .x') && document.querySelector('.log .hit .x').textContent.startsWith('PLEG is not healthy')`)
	b.until(`(r => r.top >= 0 && r.bottom <= innerHeight)(document.querySelector('.log .hit').getBoundingClientRect())`)
}

// A report that was unpacked from an artifact is opened as a file.
func TestOpensAsAFile(t *testing.T) {
	dir := pages(t)
	b := open(t, dir, "/one/report.html", 1280, 900)
	b.do(chromedp.Navigate("file://" + dir + "/one/report.html#pleg-disk/3"))
	b.until(`document.querySelectorAll('.log .l').length > 20 && document.querySelector('.log .hit') !== null`)
}

func TestCopyARemedy(t *testing.T) {
	b := open(t, pages(t), "/one/report.html", 1280, 900)
	b.do(js(`(() => { let write = navigator.clipboard.writeText.bind(navigator.clipboard); navigator.clipboard.writeText = t => { window.copied = t; return write(t) } })()`))
	b.click(`ol.remedy button.copy`)
	b.until(`document.querySelector('ol.remedy button.copy').textContent === 'copied'`)
	got := eval[string](b, `window.copied`)
	if got != "fsfreeze -u /var/lib/containerd" {
		t.Errorf("copied %q", got)
	}
}

// A suite of 60 scenarios and four detectors is there at once, and nothing of it is wider than a telephone.
func TestLargeSuiteOpensAtOnceAndFitsATelephone(t *testing.T) {
	b := open(t, pages(t), large, 390, 844)
	// Of the page's own thread, so that what else the machine does is not counted: parsing, scripts, layout.
	call(b, performance.Enable, performance.EnableParams{TimeDomain: performance.EnableTimeDomainThreadTicks})
	b.do(chromedp.Reload())
	took := map[string]float64{}
	for _, m := range call(b, performance.GetMetrics, cdp.Empty{}).Metrics {
		took[m.Name] = m.Value
	}
	t.Logf("complete after %.0f ms; tasks %.3f s, scripts %.3f s, layout %.3f s", eval[float64](b, `performance.getEntriesByType('navigation')[0].domComplete`), took["TaskDuration"], took["ScriptDuration"], took["LayoutDuration"])
	if d := took["TaskDuration"]; d <= 0 || d >= 1 {
		t.Errorf("opening takes %.3f s of CPU time; less than a second is allowed", d)
	}
	wide := eval[int](b, `document.documentElement.scrollWidth`)
	if wide > 390 {
		t.Errorf("%d pixels wide: %s", wide, eval[string](b, `JSON.stringify(Array.from(document.querySelectorAll('body *')).filter(e => e.getBoundingClientRect().right > 391 && !e.closest('.plot, .scroll, .scores')).slice(0, 5).map(e => e.tagName + '.' + e.className))`))
	}
	b.do(js(`location.hash = '#pleg-disk'`))
	b.until(`document.querySelectorAll('#pleg-disk .chart .m').length > 20`)
	if wide := eval[int](b, `document.documentElement.scrollWidth`); wide > 390 {
		t.Errorf("%d pixels wide with a run open", wide)
	}
}

func TestLightAndDark(t *testing.T) {
	b := open(t, pages(t), large, 1280, 900)
	seen := map[string]bool{}
	for _, scheme := range []string{"light", "dark"} {
		call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		// Body text against its background: the contrast that WCAG asks for.
		ratio := eval[float64](b, `(() => { let lum = c => { let v = c.match(/\d+/g).slice(0, 3).map(x => x / 255).map(x => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4); return .2126 * v[0] + .7152 * v[1] + .0722 * v[2] };
			let s = getComputedStyle(document.body), a = lum(s.color), b = lum(s.backgroundColor); return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) })()`)
		if ratio < 7 {
			t.Errorf("%s: contrast %.1f", scheme, ratio)
		}
		seen[eval[string](b, `getComputedStyle(document.body).backgroundColor`)] = true
	}
	if len(seen) != 2 {
		t.Errorf("light and dark look the same: %v", seen)
	}
}

// TestScreenshots writes the pictures of the documentation to $SICKBAY_SCREENSHOTS, of the report in $SICKBAY_REPORT if it is set.
func TestScreenshots(t *testing.T) {
	into := os.Getenv("SICKBAY_SCREENSHOTS")
	if into == "" {
		t.Skip("SICKBAY_SCREENSHOTS is not set")
	}
	dir, suite, run := pages(t), "/suite/report.html", "/one/report.html"
	if own := os.Getenv("SICKBAY_REPORT"); own != "" {
		dir, suite, run = own, "/report.html", "/report.html"
	}
	for _, shot := range []struct {
		file, page string
		wide, high int64
	}{{"report-suite.png", suite, 1180, 760}, {"report-phone.png", suite, 390, 760}, {"report.png", run, 1180, 900}} {
		b := open(t, dir, shot.page, shot.wide, shot.high)
		b.until(`document.readyState === 'complete'`)
		if shot.page == run {
			b.until(`document.querySelectorAll('.chart .m').length > 3`)
		}
		raw, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(into, shot.file), small(t, raw), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// small is a picture with at most 256 colours: a page has few, and a repository keeps every version.
func small(t *testing.T, raw []byte) []byte {
	t.Helper()
	from, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	count := map[color.Color]int{}
	for y := range from.Bounds().Dy() {
		for x := range from.Bounds().Dx() {
			count[from.At(x, y)]++
		}
	}
	colors := slices.SortedFunc(maps.Keys(count), func(a, b color.Color) int { return count[b] - count[a] })
	into := image.NewPaletted(from.Bounds(), colors[:min(256, len(colors))])
	draw.Draw(into, into.Rect, from, image.Point{}, draw.Src)
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, into); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
