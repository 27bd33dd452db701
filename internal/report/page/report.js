(function () {
  'use strict';
  var root = document.documentElement;
  var dark = window.matchMedia && window.matchMedia('(prefers-color-scheme: dark)').matches;
  function each(list, f) { Array.prototype.forEach.call(list, f); }
  function el(tag, cls, text) { var e = document.createElement(tag); if (cls) e.className = cls; if (text !== undefined) e.textContent = text; return e; }
  function svg(tag, attrs, text) {
    var e = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (var k in attrs) e.setAttribute(k, attrs[k]);
    if (text !== undefined) e.textContent = text;
    return e;
  }
  document.querySelector('button.theme').addEventListener('click', function () {
    var now = root.dataset.theme || (dark ? 'dark' : 'light');
    root.dataset.theme = now === 'dark' ? 'light' : 'dark';
  });

  // Copying: the command beside the button, or all of the remedy below a heading.
  function copyText(text, done) {
    function old() {
      var t = el('textarea'); t.value = text; document.body.append(t); t.select();
      var ok = document.execCommand('copy'); t.remove(); done(ok);
    }
    if (navigator.clipboard && window.isSecureContext) navigator.clipboard.writeText(text).then(function () { done(true); }, old); else old();
  }
  document.addEventListener('click', function (ev) {
    var b = ev.target.closest && ev.target.closest('button.copy');
    if (!b) return;
    var codes = b.parentElement.tagName === 'H3' ? b.parentElement.nextElementSibling.querySelectorAll('code') : [b.parentElement.querySelector('code')];
    copyText(Array.prototype.map.call(codes, function (c) { return c.textContent; }).join('\n'), function (ok) {
      b.textContent = ok ? 'copied' : 'not allowed here'; b.classList.toggle('done', ok);
      setTimeout(function () { b.textContent = 'copy'; b.classList.remove('done'); }, 2000);
    });
  });

  // A timeline is unpacked when its run is first looked at.
  function unpack(z) {
    var s = atob(z.replace(/-/g, '+').replace(/_/g, '/')), bytes = new Uint8Array(s.length);
    for (var i = 0; i < s.length; i++) bytes[i] = s.charCodeAt(i);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).json();
  }

  var LANES = [['fault', 'inject'], ['journal', 'log'], ['events', 'event'], ['conditions', 'condition'], ['signals', 'signal'], ['findings', 'finding'], ['remedy', 'remedy']];
  var NICE = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
  var ROWS = 1500; // lines shown at once

  function Run(section) {
    this.section = section;
    this.box = section.querySelector('.log');
    this.search = section.querySelector('.lines input');
    this.chart = section.querySelector('.chart');
    this.off = {};
    this.hit = -1;
  }
  Run.prototype.load = function () {
    var run = this;
    if (!this.loading) {
      this.loading = unpack(this.box.dataset.z).then(function (d) {
        run.lines = d.lines; run.steps = d.steps; run.took = d.took; run.from = 0; run.to = d.took;
        d.lines.forEach(function (e) { run.from = Math.min(run.from, e.t); run.to = Math.max(run.to, e.t); });
        run.whole = [run.from, run.to];
        run.tools(); run.show(); run.keys(); run.draw();
      }, function (err) { run.box.textContent = 'The lines cannot be shown (' + err + '): timeline.jsonl has them.'; });
    }
    return this.loading;
  };
  Run.prototype.tools = function () {
    var run = this, kinds = {};
    this.lines.forEach(function (e) { kinds[e.kind] = (kinds[e.kind] || 0) + 1; });
    Object.keys(kinds).forEach(function (k) {
      var b = el('button', '', k + ' ' + kinds[k]);
      b.type = 'button'; b.dataset.kind = k; b.setAttribute('aria-pressed', 'true');
      b.addEventListener('click', function () { run.off[k] = !run.off[k]; b.setAttribute('aria-pressed', String(!run.off[k])); run.show(); });
      run.search.before(b);
    });
    this.search.addEventListener('input', function () { run.show(); });
  };
  Run.prototype.show = function (upTo) {
    var run = this, q = this.search.value.toLowerCase(), n = 0, more = 0, list = document.createDocumentFragment();
    this.rows = {};
    this.lines.forEach(function (e, i) {
      if (run.off[e.kind] || (q && (e.text + ' ' + (e.src || '')).toLowerCase().indexOf(q) < 0)) return;
      if (n >= ROWS && !(upTo >= i)) { more++; return; }
      n++;
      var row = el('div', 'l k-' + e.kind + (e.level ? ' ' + e.level : ''));
      row.title = e.at + (e.node ? ' ' + e.node : '');
      row.append(el('span', 'd', (e.t < 0 ? '' : '+') + e.t.toFixed(1) + 's'), el('span', 'k', e.kind), el('span', 's', e.src || ''), el('span', 'x', e.text));
      run.rows[i] = row;
      list.append(row);
    });
    if (more) list.append(el('div', 'more', more + ' more lines: filter them'));
    if (!n) list.append(el('div', 'more', 'no line'));
    this.box.replaceChildren(list);
  };
  // jump shows one line, whatever was filtered away.
  Run.prototype.jump = function (i) {
    var run = this, e = this.lines[i];
    if (!e) return;
    if (!this.rows[i]) {
      this.off[e.kind] = false; this.search.value = '';
      each(this.section.querySelectorAll('.lines button'), function (b) { if (b.dataset.kind === e.kind) b.setAttribute('aria-pressed', 'true'); });
      this.show(i);
    }
    each(this.box.querySelectorAll('.hit'), function (h) { h.classList.remove('hit'); });
    var row = run.rows[i];
    row.classList.add('hit');
    this.box.scrollTop = row.offsetTop - this.box.offsetTop - 120;
    this.box.scrollIntoView({ block: 'center' });
    if (e.t < this.from || e.t > this.to) { this.from = this.whole[0]; this.to = this.whole[1]; }
    this.hit = i;
    this.draw();
  };
  Run.prototype.zoom = function (from, to) {
    var least = 0.5, w = this.whole;
    if (to - from < least) { var mid = (from + to) / 2; from = mid - least / 2; to = mid + least / 2; }
    var span = Math.min(to - from, w[1] - w[0]);
    from = Math.max(w[0], Math.min(from, w[1] - span));
    this.from = from; this.to = from + span;
    this.draw();
  };
  Run.prototype.scale = function (by, at) {
    var mid = at === undefined ? (this.from + this.to) / 2 : at;
    this.zoom(mid - (mid - this.from) * by, mid + (this.to - mid) * by);
  };
  // marks are what is on the chart now, those within 5 pixels of a lane as one.
  Run.prototype.layout = function (x) {
    var run = this, out = [];
    LANES.forEach(function (l, lane) {
      var last = null;
      run.lines.forEach(function (e, i) {
        if (e.kind !== l[1] || e.t < run.from - 0.001 || e.t > run.to + 0.001) return;
        var px = x(e.t);
        if (last && px - last.x < 5) { last.rows.push(i); if (rank(e) > rank(run.lines[last.row])) last.row = i; return; }
        last = { x: px, lane: lane, row: i, rows: [i] };
        out.push(last);
      });
    });
    function rank(e) { return { fatal: 3, error: 2, warning: 1 }[e.level] || 0; }
    return out;
  };
  function clock(s) { var n = s < 0 ? '-' : ''; s = Math.abs(s); return s >= 60 ? n + Math.floor(s / 60) + ':' + ('0' + Math.floor(s % 60)).slice(-2) : n + (s % 1 ? s.toFixed(1) : s.toFixed(0)) + 's'; }
  Run.prototype.draw = function () {
    var run = this, box = this.chart, wide = box.clientWidth;
    if (!wide || !this.lines) return;
    var left = wide < 600 ? 62 : 84, right = wide - 10, top = 44, high = 24, bottom = top + high * LANES.length;
    var x = function (t) { return left + (t - run.from) / (run.to - run.from) * (right - left); };
    this.x = x; this.left = left; this.right = right;
    var s = svg('svg', { viewBox: '0 0 ' + wide + ' ' + (bottom + 22), height: bottom + 22 });
    var every = NICE.find(function (n) { return (run.to - run.from) / n <= (right - left) / 70; }) || 3600;
    for (var t = Math.ceil(this.from / every) * every; t <= this.to; t += every) {
      s.append(svg('line', { 'class': 'grid', x1: x(t), x2: x(t), y1: 40, y2: bottom }), svg('text', { x: x(t), y: bottom + 15, 'text-anchor': 'middle' }, clock(Math.round(t * 10) / 10)));
    }
    LANES.forEach(function (l, i) {
      var y = top + high * (i + 0.5);
      s.append(svg('text', { 'class': 'lane', x: 0, y: y + 4 }, l[0]), svg('line', { 'class': 'laneline', x1: left, x2: right, y1: y, y2: y }));
    });
    this.steps.forEach(function (st) {
      var a = Math.max(left, x(st.from)), b = Math.min(right, x(st.to));
      if (b <= left || a >= right) return;
      var g = svg('g', { 'class': 's ' + st.verdict, 'data-step': st.name }), w = Math.max(2, b - a - 1);
      g.append(svg('title', {}, st.name + ' · ' + st.verdict + ' · ' + clock(st.to - st.from) + (st.reason ? '\n' + st.reason : '')), svg('rect', { x: a, y: 8, width: w, height: 26, rx: 4 }));
      var named = w > st.name.length * 6 + 8;
      if (named || w > 10) g.append(svg('text', { x: named ? a + 6 : a + w / 2 - 3, y: 25 }, named ? st.name : st.n));
      g.addEventListener('click', function () { run.zoom(st.from, st.to); });
      s.append(g);
    });
    this.marks = this.layout(x);
    this.marks.forEach(function (m, i) {
      var e = run.lines[m.row], y = top + high * (m.lane + 0.5), c = 'm k-' + e.kind + (e.level ? ' ' + e.level : '') + (m.rows.indexOf(run.hit) >= 0 ? ' at' : '');
      var tall = Math.min(20, 12 + 2 * Math.log2(m.rows.length)), shape = e.kind === 'log' || e.kind === 'event';
      var mark = shape ? svg('rect', { 'class': c, x: m.x - 1.5, y: y - tall / 2, width: 3, height: tall, rx: 1.5 }) : svg('circle', { 'class': c, cx: m.x, cy: y, r: 5.5 });
      mark.append(svg('title', {}, e.at + ' ' + e.text.slice(0, 220) + (m.rows.length > 1 ? '\nand ' + (m.rows.length - 1) + ' more here' : '')));
      mark.dataset.row = m.row;
      mark.addEventListener('click', function () { run.tell(i); run.jump(m.row); });
      s.append(mark);
    });
    box.replaceChildren(s);
    this.section.querySelector('.range').textContent = clock(Math.round(this.from * 10) / 10) + ' – ' + clock(Math.round(this.to * 10) / 10) + (this.to - this.from < this.whole[1] - this.whole[0] - 0.01 ? ' of ' + clock(Math.round(this.took)) : '');
  };
  Run.prototype.tell = function (i) {
    var m = this.marks[i];
    if (!m) return;
    this.hit = m.row;
    var e = this.lines[m.row];
    this.section.querySelector('p.mark').textContent = e.at + ' ' + e.kind + ': ' + e.text.slice(0, 400);
  };
  Run.prototype.keys = function () {
    var run = this, box = this.chart, down = null, brush = null;
    var time = function (ev) { return run.from + (ev.clientX - box.getBoundingClientRect().left - run.left) / (run.right - run.left) * (run.to - run.from); };
    each(this.section.querySelectorAll('[data-zoom]'), function (b) {
      b.addEventListener('click', function () { if (b.dataset.zoom === 'all') run.zoom(run.whole[0], run.whole[1]); else run.scale(b.dataset.zoom === 'in' ? 0.5 : 2); });
    });
    box.addEventListener('keydown', function (ev) {
      var span = run.to - run.from;
      if (ev.ctrlKey || ev.metaKey || ev.altKey) return;
      if (ev.key === '+' || ev.key === '=') run.scale(0.5);
      else if (ev.key === '-') run.scale(2);
      else if (ev.key === '0') run.zoom(run.whole[0], run.whole[1]);
      else if (ev.shiftKey && ev.key === 'ArrowLeft') run.zoom(run.from - span / 4, run.to - span / 4);
      else if (ev.shiftKey && ev.key === 'ArrowRight') run.zoom(run.from + span / 4, run.to + span / 4);
      else if (ev.key === 'ArrowLeft' || ev.key === 'ArrowRight') run.step(ev.key === 'ArrowRight' ? 1 : -1);
      else if (ev.key === 'Enter' && run.hit >= 0) run.jump(run.hit);
      else return;
      ev.preventDefault();
    });
    box.addEventListener('pointerdown', function (ev) { if (ev.pointerType !== 'touch' && !ev.target.closest('.m, .s')) { down = ev.clientX; box.setPointerCapture(ev.pointerId); box.focus({ preventScroll: true }); } });
    box.addEventListener('pointermove', function (ev) {
      if (down === null || Math.abs(ev.clientX - down) < 5) return;
      var at = box.getBoundingClientRect().left, a = Math.min(down, ev.clientX) - at, b = Math.max(down, ev.clientX) - at;
      if (!brush) { brush = svg('rect', { 'class': 'brush', y: 38, height: 170 }); box.firstChild.append(brush); }
      brush.setAttribute('x', a); brush.setAttribute('width', b - a);
    });
    box.addEventListener('pointerup', function (ev) {
      if (brush) { var a = time({ clientX: down }), b = time(ev); run.zoom(Math.min(a, b), Math.max(a, b)); }
      down = brush = null;
    });
    box.addEventListener('dblclick', function () { run.zoom(run.whole[0], run.whole[1]); });
    box.addEventListener('wheel', function (ev) { if (ev.ctrlKey) { ev.preventDefault(); run.scale(ev.deltaY < 0 ? 0.8 : 1.25, time(ev)); } }, { passive: false });
    if (window.ResizeObserver) new ResizeObserver(function () { if (box.clientWidth !== run.drawn) { run.drawn = box.clientWidth; run.draw(); } }).observe(box);
  };
  // step goes to the next mark in time, or the one before.
  Run.prototype.step = function (by) {
    var run = this, order = this.marks.map(function (m, i) { return i; }).sort(function (a, b) { return run.marks[a].x - run.marks[b].x || run.marks[a].lane - run.marks[b].lane; });
    if (!order.length) return;
    var at = order.findIndex(function (i) { return run.marks[i].rows.indexOf(run.hit) >= 0; });
    this.tell(order[at < 0 ? (by > 0 ? 0 : order.length - 1) : Math.max(0, Math.min(order.length - 1, at + by))]);
    this.draw();
  };

  var runs = {};
  var near = window.IntersectionObserver && new IntersectionObserver(function (list) {
    list.forEach(function (x) { if (x.isIntersecting) { runs[x.target.id].load(); near.unobserve(x.target); } });
  }, { rootMargin: '400px' });
  each(document.querySelectorAll('section.run'), function (section) {
    var run = runs[section.id] = new Run(section), details = section.querySelector('details');
    function seen() { if (details.open) { if (near) near.observe(section); else run.load(); } }
    details.addEventListener('toggle', seen);
    seen();
  });

  // #scenario opens a run, #scenario/12 one of its lines.
  function follow() {
    var to = location.hash.slice(1).split('/'), run = runs[to[0]];
    if (!run) return;
    if (run.section.hidden) reset();
    run.section.querySelector('details').open = true;
    if (to[1] === undefined) { run.section.scrollIntoView(); run.load(); return; }
    run.load().then(function () { run.jump(Number(to[1])); });
  }
  window.addEventListener('hashchange', follow);
  document.addEventListener('click', function (ev) { // the same link once more is no change
    var a = ev.target.closest && ev.target.closest('a[href^="#"]');
    if (a && a.getAttribute('href') === location.hash) { ev.preventDefault(); follow(); }
  });

  // The table: which runs, in which order.
  var table = document.querySelector('.overview table'), reset = function () {};
  if (table) {
    var body = table.tBodies[0], rows = Array.prototype.slice.call(body.rows), only = '', box = document.querySelector('.overview');
    var input = box.querySelector('input'), order = box.querySelector('select'), chips = box.querySelectorAll('[data-which]');
    var filter = function () {
      var q = input.value.toLowerCase(), n = 0;
      rows.forEach(function (r) {
        var run = runs[r.dataset.run].section;
        if (r.words === undefined) {
          r.words = r.textContent + ' ' + run.querySelector('summary').textContent;
          each(run.querySelectorAll('.finding h4, .finding p, .reason'), function (e) { r.words += ' ' + e.textContent; });
          r.words = r.words.toLowerCase();
        }
        var hide = (only && r.dataset.v !== only) || (q && r.words.indexOf(q) < 0);
        r.hidden = run.hidden = !!hide;
        if (!hide) n++;
      });
      each(chips, function (b) { b.setAttribute('aria-pressed', String(b.dataset.which === only)); });
      box.querySelector('.none').hidden = n > 0;
    };
    var sort = function (by) {
      order.value = by;
      var key = function (r) { return by === 'name' ? r.dataset.run : Number(r.dataset[by]); };
      var down = by === 'finding' || by === 'took' ? -1 : 1;
      rows.sort(function (a, b) { var x = key(a), y = key(b); return (x < y ? -1 : x > y ? 1 : a.dataset.rank - b.dataset.rank) * down; });
      rows.forEach(function (r) { body.append(r); });
      var after = box;
      rows.forEach(function (r) { var s = runs[r.dataset.run].section; after.after(s); after = s; });
      each(table.querySelectorAll('th[data-by]'), function (h) { if (h.dataset.by === by) h.setAttribute('aria-sort', 'other'); else h.removeAttribute('aria-sort'); });
    };
    reset = function () { only = ''; input.value = ''; filter(); };
    each(chips, function (b) { b.addEventListener('click', function () { only = only === b.dataset.which ? '' : b.dataset.which; filter(); }); });
    input.addEventListener('input', filter);
    order.addEventListener('change', function () { sort(order.value); });
    each(table.querySelectorAll('th[data-by]'), function (h) { h.addEventListener('click', function () { sort(h.dataset.by); }); });
    box.querySelector('.reset').addEventListener('click', function () { reset(); });
  }
  if (location.hash) follow();
})();
