package browser

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// server is the test program that serves a class, built once.
var server = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(scratch, "web.test")
	cmd := exec.Command("go", "test", "-c", "-o", bin, ".")
	cmd.Dir = "../../lab/web"
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server: %w: %s", err, out)
	}
	return bin, nil
})

// class serves a class of two over a world of its own, by the test beside the server's code; the links are by learner, the teacher's
// without a name.
func class(t *testing.T) map[string]string {
	t.Helper()
	needsBrowser(t)
	bin, err := server()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "links")
	cmd := exec.Command(bin, "-test.run", "^TestServeForLookingAt$")
	var said strings.Builder
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = "../../lab/web", append(os.Environ(), "SICKBAY_SERVE="+file), &said, &said
	end, err := cmd.StdinPipe() // its end ends it
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = end.Close()
		if err := <-gone; err != nil {
			t.Errorf("the server: %v: %s", err, said.String())
		}
	})
	for {
		var links map[string]string
		if raw, err := os.ReadFile(file); err == nil {
			if err := json.Unmarshal(raw, &links); err != nil {
				t.Fatal(err)
			}
			return links
		}
		select {
		case err := <-gone:
			gone <- err
			t.Fatalf("the server does not come: %v: %s", err, said.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// at opens a page of a class.
func at(t *testing.T, link string, wide, high int64) *tab {
	t.Helper()
	base := strings.Join(strings.SplitN(link, "/", 4)[:3], "/") + "/"
	b := launch(t, wide, high, func(url string) bool {
		return (strings.HasPrefix(url, base) || strings.HasPrefix(url, strings.Replace(base, "http", "ws", 1))) && !strings.Contains(url, "token") || strings.HasPrefix(url, "data:")
	})
	b.do(chromedp.Navigate(link))
	b.until(`document.querySelector('#link').textContent === 'connected'`)
	return b
}

func has(sel, text string) string {
	return `document.querySelector('` + sel + `')?.textContent.includes(` + string(quoted(text)) + `)`
}

func quoted(s string) []byte {
	raw, _ := json.Marshal(s)
	return raw
}

const screen = `document.querySelector('#terminal .xterm-rows').textContent`

// TestLabFromStartToDebrief is a learner's way, with the keyboard where there is one.
func TestLabFromStartToDebrief(t *testing.T) {
	links := class(t)
	b := at(t, links["ada"], 1280, 900)
	if eval[string](b, `location.href`) != strings.SplitN(links["ada"], "#", 2)[0] {
		t.Error("the token stays in the address bar")
	}
	b.do(focus(`#begin button`), chromedp.KeyEvent(kb.Enter))
	b.until(has("#story", "went NotReady after a clean-up"))
	b.until(has("#conditions .bad", "cni plugin not initialized"))
	b.until(has("#events", `<b>not found</b>`)) // as text
	// A command in the terminal, and F6 out of it.
	b.do(js(`document.querySelector('#node').value = 'w1'`), focus(`#open`), chromedp.KeyEvent(kb.Enter))
	b.until(screen + `.includes('w1:~#')`)
	b.do(chromedp.KeyEvent("echo se''en; printf '\\033[38;2;1;2;3mtrue colour\\033[0m\\n'" + kb.Enter))
	b.until(screen + `.includes('seen') && ` + screen + `.includes('true colour')`)
	b.do(chromedp.KeyEvent(kb.F6))
	if on := eval[string](b, `document.activeElement.id`); on != "open" {
		t.Errorf("F6 leads to %q", on)
	}
	// The clock stands while it is paused, and nothing is answered or checked.
	b.click(`#pause`)
	b.until(has("#phase", "paused") + ` && document.querySelector('#check').disabled && ` + has("#pause", "Go on"))
	b.click(`#pause`)
	b.until(has("#phase", "running") + ` && !document.querySelector('#check').disabled`)
	b.click(`#hint`)
	b.until(has("#hints", "Read the node's Ready condition."))
	b.click(`#check`)
	b.until(has("#verdict", "0 of 1 goals are met. Not solved."))
	if n := eval[int](b, `performance.getEntriesByType('resource').filter(e => !e.name.startsWith(location.origin) && !e.name.startsWith('data:')).length`); n > 0 {
		t.Errorf("%d resources of others", n)
	}
	// A typing mistake is no answer.
	b.typed(`#name`, "cni/conflist-mising"+kb.Enter)
	b.until(has("#message", "did you mean conflist-missing?"))
	b.forgive("422")
	b.do(js(`document.querySelector('#name').value = ''`))
	b.typed(`#name`, "cni/conflist-missing"+kb.Enter)
	b.until(has("#answers .good", "cni/conflist-missing: right"))
	b.until(`document.querySelector('#message').hidden`)
	// The page is loaded anew: the terminal is as it was, and goes on.
	b.do(chromedp.Navigate(strings.SplitN(links["ada"], "#", 2)[0]))
	b.until(`!document.querySelector('#shells').hidden`)
	b.do(js(`document.querySelector('#node').value = 'w1'; document.querySelector('#open').click()`))
	b.until(screen + `.includes('seen')`)
	b.do(chromedp.KeyEvent("touch fixed" + kb.Enter))
	b.until(has("#conditions", "posting ready status"))
	b.click(`#check`)
	b.until(has("#verdict", "Solved."))
	b.until(has("#phase", "solved"))
	b.click(`#stop`)
	b.until(has("#debrief", "90 points of 100"))
	for _, want := range []string{"the CNI configuration is gone", "cni/conflist-missing", "sickbay diagnose knew after12s", "What would have told it first", "hint 1"} {
		if !eval[bool](b, has("#debrief", want)) {
			t.Errorf("the debrief lacks %q: %s", want, eval[string](b, `document.querySelector('#debrief').textContent`))
		}
	}
	b.until(`!document.querySelector('#begin').hidden`)
}

// TestLabShowsTheRemedy: step by step, for the learner to type; the same fault anew forgets them.
func TestLabShowsTheRemedy(t *testing.T) {
	b := at(t, class(t)["ada"], 1280, 900)
	b.click(`#begin button`)
	b.until(`!document.querySelector('#work').hidden`)
	b.do(js(`window.confirm = () => false`))
	b.click(`#step`) // it was a mistake
	b.do(js(`window.asked = []; window.confirm = q => asked.push(q)`))
	for n := 1; n <= 2; n++ {
		b.until(`!document.querySelector('#step').disabled`)
		b.click(`#step`)
		b.until(fmt.Sprintf(`document.querySelectorAll('#steps li').length === %d`, n))
	}
	if shown := eval[string](b, `document.querySelector('#steps').textContent`); !strings.Contains(shown, "the agent writes it (w1)touch <step-1>") || !strings.Contains(eval[string](b, `asked[0]`), "no score") {
		t.Error(shown)
	}
	b.click(`#hint`)
	b.until(has("#hints", "Read the node's Ready condition."))
	b.until(`!document.querySelector('#reset').disabled`)
	b.click(`#reset`)
	b.until(`!document.querySelector('#work').hidden && document.querySelectorAll('#steps li, #hints li').length === 0`)
}

// forgive forgets what the browser says of a request that was refused.
func (b *tab) forgive(status string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problems = slices.DeleteFunc(b.problems, func(p string) bool { return strings.Contains(p, "status of "+status) })
}

// TestTeacherStartsAFault: for one, by the page, with a word; the learner's page shows it by itself.
func TestTeacherStartsAFault(t *testing.T) {
	links := class(t)
	teacher, bo := at(t, links[""], 1280, 800), at(t, links["bo"], 1280, 800)
	teacher.until(`document.querySelectorAll('#learners tbody tr').length === 2`)
	teacher.click(`#learners input[value=bo]`)
	teacher.do(js(`document.querySelector('#start select').value = 'L99'`))
	teacher.click(`#start button`)
	bo.until(has("#code", "L99"))
	teacher.typed(`#text`, "look at the node first"+kb.Enter)
	bo.until(has("#nudges", "look at the node first"))
	bo.click(`#hint`)
	row := `document.querySelectorAll('#learners tbody tr')[1].textContent`
	teacher.until(row + `.includes('L99 running') && ` + row + `.includes('1/2') && ` + row + `.includes('open')`)
	if other := eval[string](teacher, `document.querySelector('#learners tbody tr').textContent`); !strings.Contains(other, "no lab") {
		t.Errorf("ada: %s", other)
	}
	teacher.do(js(`window.confirm = () => true`))
	teacher.click(`#stop`)
	bo.until(has("#debrief", "not solved"))
}

// TestConnectionComesBack: a page whose server is away says so, and goes on with the shell that it had.
func TestConnectionComesBack(t *testing.T) {
	b := at(t, class(t)["ada"], 1280, 900)
	b.do(js(`window.sockets = []; window.WebSocket = class extends WebSocket { constructor(...args) { super(...args); sockets.push(this) } }`))
	b.click(`#begin button`)
	b.until(`!document.querySelector('#shells').hidden`)
	b.click(`#open`)
	b.until(screen + `.includes('cp:~#')`)
	b.do(chromedp.KeyEvent("there=still" + kb.Enter + "sleep 1; echo missed $there" + kb.Enter))
	b.do(js(`window.sockets.at(-1).close()`))
	b.until(screen + `.includes('missed still')`)
	if n := eval[int](b, screen+`.split('there=still').length`); n != 2 {
		t.Errorf("what was shown before is there %d times", n-1)
	}
}

// TestLabFitsATelephone: no page is wider than the screen, in either language, and colours have contrast in both schemes.
func TestLabFitsATelephone(t *testing.T) {
	links := class(t)
	for _, who := range []string{"ada", ""} {
		b := at(t, links[who], 390, 844)
		if who != "" {
			b.do(js(`document.querySelector('#begin button').click()`))
			b.until(`!document.querySelector('#shells').hidden`)
			b.do(js(`document.querySelector('#open').click()`))
			b.until(screen + `.includes('cp:~#')`)
		}
		for _, language := range []string{"ko", "en"} {
			b.do(js(`(s => { s.value = '` + language + `'; s.dispatchEvent(new Event('change')) })(document.querySelector('#language'))`))
			if got := eval[string](b, `document.documentElement.lang`); got != language {
				t.Errorf("the page's language is %s", got)
			}
			if wide := eval[int](b, `document.documentElement.scrollWidth`); wide > 390 {
				t.Errorf("%q in %s: %d pixels wide", who, language, wide)
			}
			// Whatever can be used has a name.
			if bare := eval[string](b, `Array.from(document.querySelectorAll('button, input, select, [tabindex="0"]')).filter(e => e.offsetParent && !e.closest('#terminal') && !(e.textContent.trim() || e.labels?.length || e.ariaLabel)).map(e => e.outerHTML).join()`); bare != "" {
				t.Errorf("without a name: %s", bare)
			}
			if left := eval[string](b, `Array.from(document.querySelectorAll('[data-t]')).filter(e => e.textContent === e.dataset.t).map(e => e.dataset.t).join()`); left != "" {
				t.Errorf("without a text in %s: %s", language, left)
			}
		}
		for _, scheme := range []string{"light", "dark"} {
			call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
			for _, of := range []string{"body", ".bad", ".faint", "button.main"} {
				ratio := eval[float64](b, contrast(of))
				if ratio < 4.5 {
					t.Errorf("%q, %s, %s: contrast %.1f", who, of, scheme, ratio)
				}
			}
		}
	}
}

// contrast is that of the first that is seen, against what is behind it; 21 where there is none.
func contrast(sel string) string {
	return `(e => { if (!e) return 21; let lum = c => { let v = c.match(/[\d.]+/g).slice(0, 3).map(x => x / 255).map(x => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4); return .2126 * v[0] + .7152 * v[1] + .0722 * v[2] };
		let back = e; while (getComputedStyle(back).backgroundColor === 'rgba(0, 0, 0, 0)') back = back.parentElement;
		let a = lum(getComputedStyle(e).color), b = lum(getComputedStyle(back).backgroundColor); return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) })(Array.from(document.querySelectorAll('` + sel + `')).find(e => e === document.body || e.offsetParent))`
}

// TestLabScreenshots writes the pictures of docs/labs.md to $SICKBAY_SCREENSHOTS.
func TestLabScreenshots(t *testing.T) {
	into := os.Getenv("SICKBAY_SCREENSHOTS")
	if into == "" {
		t.Skip("SICKBAY_SCREENSHOTS is not set")
	}
	links := class(t)
	teacher, b := at(t, links[""], 1180, 460), at(t, links["ada"], 1180, 860)
	b.click(`#begin button`)
	b.until(`!document.querySelector('#shells').hidden`)
	b.do(js(`document.querySelector('#node').value = 'w1'; document.querySelector('#open').click()`))
	b.until(screen + `.includes('w1:~#')`)
	b.do(chromedp.KeyEvent("echo 'what does the kubelet say?'" + kb.Enter))
	b.click(`#hint`)
	b.click(`#check`)
	b.until(has("#verdict", "Not solved."))
	teacher.until(has("#learners", "1/2"))
	b.do(js(`scrollTo(0, 0)`))
	for file, b := range map[string]*tab{"lab-learner.png": b, "lab-class.png": teacher} {
		raw, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(into, file), small(t, raw), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
