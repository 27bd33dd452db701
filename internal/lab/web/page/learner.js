import {$, act, ago, ask, both, clock, complain, el, jobText, language, linked, poll, row, set, show, speak, t, table, token} from './common.js'
import {Shell} from './terminal.js'

let state = null, symptoms = null, blind = '', at = Date.now(), debriefed = false

function draw() {
  if (!state) return
  const lab = state.lab, busy = state.job.busy
  $('#who').textContent = state.name
  show('#begin', !lab && !busy)
  show('#ticket', lab)
  show('#work', lab && lab.phase !== 'starting' && !(busy && state.job.what === 'stop'))
  show('#shells', lab && lab.nodes && !lab.over)
  show('#job', busy || state.job.error)
  $('#job').textContent = jobText(state.job)
  $('#job').className = state.job.error ? 'bad' : ''
  if (state.error) complain(state.error)
  show('#nudges', state.nudges?.length)
  set($('#nudges ul'), (state.nudges ?? []).toReversed().map(n => el('li', {}, n.text)))
  if (lab) drawLab(lab, busy)
  drawDebrief(state.debrief)
}

function drawLab(lab, busy) {
  $('#code').textContent = lab.code
  $('#about').textContent = t('about', lab.topic, lab.level, lab.minutes)
  $('#page').textContent = lab.page
  $('#story').textContent = both(lab.story)
  $('#phase').textContent = t(lab.phase)
  $('#phase').className = 'chip' + (lab.phase === 'solved' ? ' good' : '')
  show('#over', lab.over && !busy && lab.phase !== 'paused')
  $('#over').textContent = lab.over ?? ''
  set($('#hints'), (lab.hints ?? []).map(h => el('li', {}, both(h))))
  const taken = lab.hints?.length ?? 0
  $('#hint').textContent = taken < lab.rungs ? t('hintN', taken + 1, lab.rungs) : t('noHint')
  $('#hint').disabled = taken >= lab.rungs
  const still = lab.phase === 'paused'
  $('#check').disabled = $('#reset').disabled = $('#step').disabled = $('#stop').disabled = $('#pause').disabled = busy
  for (const sel of ['#hint', '#check', '#step']) $(sel).disabled ||= still
  $('#answer button').disabled = still
  $('#pause').textContent = t(still ? 'resume' : 'pause')
  set($('#steps'), (state.steps ?? []).map(s => el('li', {}, s.why + (s.on ? ' (' + s.on + ')' : ''), el('pre', {}, s.run))))
  const last = (lab.answers ?? []).findLastIndex(a => a.grade === 'right')
  set($('#answers'), (lab.answers ?? []).map((a, i) => el('li', {className: a.grade === 'right' ? 'good' : 'bad'}, el('code', {}, a.name), ': ' + t(i === last && lab.left > 0 ? 'more' : a.grade))))
  const v = state.verdict, met = v?.goals.filter(g => g.met).length
  set($('#verdict'), !v ? [] : [
    el('ul', {className: 'plain'}, ...v.goals.map(g => el('li', {className: g.met ? 'good' : 'bad'}, (g.met ? '✓ ' : '✗ ') + both(g.says) + (g.why ? ' (' + g.why + ')' : '')))),
    el('ul', {}, ...(v.refused ?? []).filter(r => r.reason !== 'still-ill').map(r => el('li', {className: 'bad'}, el('code', {}, r.reason), ': ' + r.text))),
    el('p', {className: v.solved ? 'good' : 'bad'}, v.solved ? t('isSolved') : t('notSolved', met, v.goals.length)),
    v.solved && lab.left > 0 ? el('p', {}, t('unnamed')) : null])
  const was = $('#node').value
  set($('#node'), (lab.nodes ?? []).map(n => el('option', {value: n}, n === lab.home ? t('withKubectl', n) : n)))
  $('#node').value = lab.nodes?.includes(was) ? was : lab.home
  tick()
}

function drawDebrief(d) {
  show('#debrief', d && !state.job.busy)
  if (!d) { debriefed = false; return }
  const fact = (key, value) => el('tr', {}, el('th', {scope: 'row'}, t(key)), el('td', {}, value))
  set($('#debrief'), [
    el('h2', {id: 'h-debrief'}, t('debrief') + ': ' + d.Code + ' ' + d.Title),
    el('p', {}, el('span', {className: 'num'}, t('points', d.Score.points)), d.Solved ? '' : ' ' + t('unsolved')),
    el('table', {}, el('tbody', {}, ...d.Causes.map(c => fact('itWas', el('code', {}, c))), fact('named', d.Named), fact('fixed', d.Fixed), fact('knew', d.Knew),
      fact('hints', String(d.Score.hints)), fact('wrongs', String(d.Score.wrong)), fact('refused', (d.Refused ?? []).join(', ') || '–'), ...(d.Score.residue ?? []).map(r => fact('left', r)))),
    el('h3', {}, t('first')), el('ol', {}, ...(d.First ?? []).map(f => el('li', {}, f))),
    el('h3', {}, t('timeline')), el('div', {className: 'scroll', tabIndex: 0, role: 'region', ariaLabel: t('timeline')}, el('table', {}, el('tbody', {}, ...(d.Lines ?? []).map(l => row(false, l.After, l.Kind, l.Text))))),
    el('p', {}, t('again') + ': ', el('code', {}, d.Again))])
  if (!debriefed && !state.job.busy) { debriefed = true; $('#debrief').focus() }
}

function tick() {
  if (!state?.lab) return
  const on = state.lab.phase === 'running' ? (Date.now() - at) / 1000 : 0
  $('#clock').textContent = t('onClock', clock(state.lab.seconds + on))
}
setInterval(tick, 1000)

function drawSymptoms() {
  show('#unknown', blind)
  $('#unknown').textContent = blind
  const s = symptoms
  if (!s) return
  table('#conditions', ['node', 'type', 'status', 'since', 'message'], (s.conditions ?? []).map(c => row(c.bad, c.node, c.type, c.status, ago(c.since), [c.reason, c.message].filter(Boolean).join(': '))))
  table('#pods', ['name', 'node', 'status', 'restarts'], (s.pods ?? []).map(p => row(p.bad, p.name, p.node, p.status, String(p.restarts))))
  table('#events', ['age', 'object', 'reason', 'message'], (s.events ?? []).map(e => row(e.bad, ago(e.at), e.object, e.reason, e.message)))
}

const look = poll(() => 'state?language=' + language, () => state?.job.busy ? 700 : 3000, (got, e) => {
  linked(e)
  if (got) { state = got; at = Date.now(); draw() }
})
poll(() => 'symptoms', () => 3000, (got, e) => {
  // What is not known is not shown as if it were.
  if (got) { symptoms = got; blind = '' } else if (e.status) blind = e.message
  drawSymptoms()
})
const names = async () => {
  try { set($('#names'), (await ask('names')).map(n => el('option', {value: n}))) } catch { setTimeout(names, 5000) }
}
names()

const does = (sel, event, path, body) => $(sel).addEventListener(event, async e => {
  e.preventDefault()
  if (await act(path, body?.())) look()
})
does('#begin form', 'submit', 'start', () => ({level: Number($('#begin select').value)}))
does('#hint', 'click', 'hint')
does('#check', 'click', 'check')
does('#stop', 'click', 'stop')
const asks = (sel, path, question) => $(sel).addEventListener('click', async () => { if (confirm(t(question)) && await act(path)) look() })
asks('#reset', 'reset', 'sureReset')
asks('#step', 'step', 'sureStep')
$('#pause').addEventListener('click', async () => { if (await act(state.lab.phase === 'paused' ? 'resume' : 'pause')) look() })
$('#answer').addEventListener('submit', async e => {
  e.preventDefault()
  if (await act('answer', {name: $('#name').value.trim()})) { $('#name').value = ''; look() }
})

const shell = new Shell($('#terminal'), token, text => { $('#shell').textContent = text }, () => $('#open').focus())
$('#open').addEventListener('click', () => { show('#terminal', true); shell.open($('#node').value, $('#record').checked) })

speak(() => { draw(); drawSymptoms(); shell.say() })
