// Package docs embeds the guide, and reads it and the failures' pages (detectors/<failure>/page.md) for the command line: a finding's
// text shows a page's first command, and Search leads from what somebody sees to the page.
//
// It knows no other package; a test holds that every failure and cause has its page and section.
package docs

import _ "embed"

//go:embed guide.md
var guide string
