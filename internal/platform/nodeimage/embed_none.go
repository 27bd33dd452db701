//go:build !embedagent

package nodeimage

var packed []byte
