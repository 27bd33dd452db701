package detectors

import "embed"

//go:embed */page.md
var pages embed.FS

// Page is the explanation of a failure, Markdown.
func Page(failure string) (string, error) {
	page, err := pages.ReadFile(failure + "/page.md")
	return string(page), err
}
