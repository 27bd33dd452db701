// A terminal of a node. The shell is the server's: this page may come and go, and asks for what it has missed.
import {$, t} from './common.js'

// The terminal writes style sheets; the page's policy lets those with its word in.
const word = $('meta[name=style]').content, create = document.createElement.bind(document)
document.createElement = (name, options) => {
  const e = create(name, options)
  if (name === 'style') e.nonce = word
  return e
}

const frame = 2048 // characters of what is pasted go in one message: at most three bytes each

export class Shell {
  constructor(box, token, tell, leave) { Object.assign(this, {box, token, tell, leave, key: '', args: []}) }

  say(key, ...args) {
    if (key !== undefined) Object.assign(this, {key, args})
    this.tell(this.key ? t(this.key, ...this.args) : '')
  }

  make() {
    this.term = new Terminal({screenReaderMode: true, cursorBlink: !matchMedia('(prefers-reduced-motion: reduce)').matches, scrollback: 5000, fontSize: 14})
    this.fit = new FitAddon.FitAddon()
    this.term.loadAddon(this.fit)
    this.term.open(this.box)
    this.term.attachCustomKeyEventHandler(e => {
      if (e.key !== 'F6') return true
      if (e.type === 'keydown') this.leave()
      return false
    })
    const coder = new TextEncoder()
    this.term.onData(s => { for (let i = 0; i < s.length; i += frame) this.send(coder.encode(s.slice(i, i + frame))) })
    this.term.onResize(() => this.size())
    new ResizeObserver(() => this.box.offsetWidth && this.fit.fit()).observe(this.box)
  }

  send(what) { if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(what) }
  size() { this.send(JSON.stringify({cols: this.term.cols, rows: this.term.rows})) }

  open(node, record) {
    if (!this.term) this.make()
    if (node !== this.node) { this.session = ''; this.from = 0; this.term.reset() }
    Object.assign(this, {node, record, wait: 500})
    this.fit.fit()
    this.connect()
    this.term.focus()
  }

  connect() {
    clearTimeout(this.timer)
    this.socket?.close()
    const q = new URLSearchParams({node: this.node, session: this.session ?? '', from: this.from ?? 0, record: this.record ? 1 : 0})
    const at = new URL('api/terminal?' + q, location.href)
    at.protocol = at.protocol.replace('http', 'ws')
    const s = this.socket = new WebSocket(at, ['sickbay.lab.v1', 'token.' + this.token()])
    s.binaryType = 'arraybuffer'
    let ended = false
    s.onopen = () => { this.wait = 500; this.size(); this.say('shellOn', this.node) }
    s.onmessage = e => {
      if (s !== this.socket) return
      if (typeof e.data !== 'string') {
        this.from += e.data.byteLength
        this.term.write(new Uint8Array(e.data))
        return
      }
      const hello = JSON.parse(e.data)
      // Another shell, or more was printed than was kept.
      if (hello.session !== this.session || hello.from !== this.from) this.term.reset()
      Object.assign(this, {session: hello.session, from: hello.from})
      ended = hello.ended
    }
    s.onclose = () => {
      if (s !== this.socket) return
      if (ended) { this.say('shellEnded', this.node); return }
      this.say('shellAway')
      this.timer = setTimeout(() => this.connect(), this.wait)
      this.wait = Math.min(2 * this.wait, 10000)
    }
  }
}
