import {$, act, ago, clock, el, jobText, linked, poll, set, speak, t, table} from './common.js'

let room = null
const chosen = new Set()

function progress(l) {
  if (l.job.busy || l.job.error) return jobText(l.job)
  if (l.error || !l.lab) return l.error || (l.debrief ? t('points', l.debrief.Score.points) : t('noLab'))
  const goals = l.verdict && l.lab.phase !== 'solved' ? ' ✓ ' + l.verdict.goals.filter(g => g.met).length + '/' + l.verdict.goals.length : ''
  return l.lab.code + ' ' + t(l.lab.phase) + ' ' + clock(l.lab.seconds) + goals
}

function seen(l) {
  if (!l.seen) return t('never')
  return Date.now() - Date.parse(l.seen) < 20000 ? t('here') : t('gone', ago(l.seen))
}

function draw() {
  if (!room) return
  const focused = document.activeElement.closest('#learners') && document.activeElement.value
  table('#learners', ['name', 'progress', 'hintsTaken', 'lastAnswer', 'shells', 'page', 'soFar'], room.learners.map(l => {
    const answer = l.lab?.answers?.at(-1)
    const box = el('input', {type: 'checkbox', value: l.name})
    return el('tr', {}, el('th', {scope: 'row'}, el('label', {}, box, ' ' + l.name)), ...[progress(l), l.lab ? (l.lab.hints?.length ?? 0) + '/' + l.lab.rungs : '', answer ? answer.name + ': ' + t(answer.grade) : '', (l.shells ?? []).join(', '), seen(l), l.labs ? t('labsPoints', l.labs, l.points) : ''].map(x => el('td', {}, x)))
  }))
  for (const box of document.querySelectorAll('#learners input')) {
    box.checked = chosen.has(box.value)
    if (box.value === focused) box.focus()
    box.onchange = () => box.checked ? chosen.add(box.value) : chosen.delete(box.value)
  }
  const select = $('#start select'), was = select.value
  set(select, [el('option', {value: ''}, t('drawAny')), ...[1, 2, 3].map(n => el('option', {value: n}, t('drawLevel', n))), ...room.labs.map(l => el('option', {value: l.code}, l.code + ': ' + t('about', l.topic, l.level, l.minutes)))])
  select.value = was
}

const look = poll(() => 'class', () => room?.learners.some(l => l.job.busy) ? 1000 : 3000, (got, e) => {
  linked(e)
  if (got) { room = got; draw() }
})

const who = () => [...chosen]
$('#start').onsubmit = async e => {
  e.preventDefault()
  const lab = $('#start select').value
  if (await act('class/start', {who: who(), ...(/^[0-9]$/.test(lab) ? {level: Number(lab)} : {code: lab})})) look()
}
$('#nudge').onsubmit = async e => {
  e.preventDefault()
  if (await act('class/nudge', {who: who(), text: $('#text').value})) $('#text').value = ''
}
$('#stop').onclick = async () => {
  if (confirm(t('sure', who().join(', ') || t('all'))) && await act('class/stop', {who: who()})) look()
}

speak(draw)
