// What both pages share: the language, the token, asking the server, and making elements. Nothing that comes from a cluster is ever markup.
import {texts} from './texts.js'

export const $ = sel => document.querySelector(sel)

// The token stays in this tab; the address bar forgets it.
if (location.hash.length > 1) {
  sessionStorage.setItem(location.pathname, location.hash.slice(1))
  history.replaceState(null, '', location.pathname)
}
export const token = () => sessionStorage.getItem(location.pathname) || ''
// Another link in the same tab.
addEventListener('hashchange', () => location.reload())

export let language = localStorage.getItem('language') || (navigator.language.startsWith('ko') ? 'ko' : 'en')
export const t = (key, ...args) => (texts[key]?.[language === 'ko' ? 1 : 0] ?? key).replace(/\{(\d)\}/g, (_, i) => args[i])
export const both = text => (language === 'ko' && text.ko) || text.en

// speak puts the language's texts into the page, and calls what draws the rest.
export function speak(draw) {
  const all = () => {
    document.documentElement.lang = language
    for (const e of document.querySelectorAll('[data-t]')) e.textContent = t(e.dataset.t)
    for (const e of document.querySelectorAll('[data-label]')) e.setAttribute('aria-label', t(e.dataset.label))
    $('#language').value = language
    draw()
  }
  $('#language').onchange = e => { language = e.target.value; localStorage.setItem('language', language); all() }
  all()
}

export function el(tag, props, ...children) {
  const e = Object.assign(document.createElement(tag), props)
  e.append(...children.filter(c => c !== null && c !== undefined))
  return e
}

// set draws children only where they are others: what is focused or read out stays.
export function set(parent, children) {
  const now = el('div', {}, ...children)
  if (parent.dataset.was === now.innerHTML) return
  parent.dataset.was = now.innerHTML
  parent.replaceChildren(...now.childNodes)
}

export function show(sel, on) { $(sel).hidden = !on }

// table draws rows of texts or elements under heads.
export function table(sel, heads, rows) {
  set($(sel), [el('thead', {}, el('tr', {}, ...heads.map(h => el('th', {scope: 'col'}, t(h))))), el('tbody', {}, ...rows)])
}
export const row = (bad, ...cells) => el('tr', {className: bad ? 'bad' : ''}, ...cells.map(c => el('td', {}, c)))

export const clock = s => [s / 3600, s / 60 % 60, s % 60].map(n => String(Math.floor(n)).padStart(2, '0')).join(':')
export const ago = at => { const s = Math.max(0, (Date.now() - Date.parse(at)) / 1000); return s < 100 ? Math.round(s / 5) * 5 + ' s' : s < 6000 ? Math.round(s / 60) + ' min' : Math.round(s / 3600) + ' h' }

export async function ask(path, body) {
  const r = await fetch('api/' + path, {method: body === undefined ? 'GET' : 'POST', headers: {Authorization: 'Bearer ' + token()}, body: body === undefined ? undefined : JSON.stringify(body)})
  const said = await r.json()
  if (!r.ok) throw Object.assign(new Error(said.error), {status: r.status})
  return said
}

// act does something that somebody asked for, and says why it did not work.
export async function act(path, body) {
  try {
    await ask(path, body ?? {})
    complain('')
    return true
  } catch (e) {
    complain(e.status ? e.message : t('away'))
    return false
  }
}

export function complain(text) {
  $('#message').textContent = text
  show('#message', text !== '')
}

// poll asks again and again; a server that is away is asked until it is back. wake() asks at once.
export function poll(path, every, got) {
  let timer, running = false, again = false
  const look = async () => {
    if (running) { again = true; return }
    clearTimeout(timer)
    running = true
    again = false
    try { got(await ask(path()), null) } catch (e) { got(null, e) }
    running = false
    timer = setTimeout(look, again ? 0 : document.hidden ? 5 * every() : every())
  }
  look()
  addEventListener('online', look)
  document.addEventListener('visibilitychange', () => document.hidden || look())
  return look
}

export function linked(e) {
  $('#link').textContent = !e ? t('connected') : e.status === 401 ? t('noToken') : e.status ? e.message : t('away')
  $('#link').className = e ? 'bad' : ''
}

export const jobText = j => j.error ? t('failed', t('job-' + j.what), j.error) : j.busy ? t('job-' + j.what) + ' … ' + j.detail : ''
