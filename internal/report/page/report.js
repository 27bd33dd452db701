(function () {
  var root = document.documentElement;
  var dark = window.matchMedia && window.matchMedia('(prefers-color-scheme: dark)').matches;
  document.querySelector('button.theme').addEventListener('click', function () {
    var now = root.dataset.theme || (dark ? 'dark' : 'light');
    root.dataset.theme = now === 'dark' ? 'light' : 'dark';
  });
  function span(cls, text) { var s = document.createElement('span'); s.className = cls; s.textContent = text; return s; }
  document.querySelectorAll('section.run').forEach(function (run) {
    var data = run.querySelector('script[type="application/json"]');
    if (!data) return;
    var lines = JSON.parse(data.textContent);
    if (typeof lines === 'string') lines = JSON.parse(lines);
    var box = run.querySelector('.log'), tools = run.querySelector('.tools'), search = tools.querySelector('input');
    var kinds = {}, off = {}, rows = [];
    lines.forEach(function (e) {
      kinds[e.kind] = (kinds[e.kind] || 0) + 1;
      var row = document.createElement('div');
      row.className = 'l k-' + e.kind + (e.level ? ' ' + e.level : '');
      row.title = e.at + (e.node ? ' ' + e.node : '');
      row.append(span('d', (e.t < 0 ? '' : '+') + e.t.toFixed(1) + 's'), span('k', e.kind), span('s', e.src || ''), span('x', e.text));
      box.append(row);
      rows.push({ e: e, row: row });
    });
    function show() {
      var q = search.value.toLowerCase();
      rows.forEach(function (r) {
        var hide = off[r.e.kind] || (q && (r.e.text + ' ' + (r.e.src || '')).toLowerCase().indexOf(q) < 0);
        r.row.style.display = hide ? 'none' : '';
      });
    }
    Object.keys(kinds).forEach(function (k) {
      var b = document.createElement('button');
      b.type = 'button'; b.textContent = k + ' ' + kinds[k]; b.setAttribute('aria-pressed', 'true');
      b.addEventListener('click', function () { off[k] = !off[k]; b.setAttribute('aria-pressed', String(!off[k])); show(); });
      tools.insertBefore(b, search);
    });
    search.addEventListener('input', show);
    run.querySelectorAll('.chart .m').forEach(function (m) {
      m.addEventListener('click', function () {
        var r = rows[Number(m.dataset.row)];
        if (!r) return;
        off[r.e.kind] = false; search.value = ''; show();
        box.querySelectorAll('.hit').forEach(function (h) { h.classList.remove('hit'); });
        r.row.classList.add('hit');
        box.scrollTop = r.row.offsetTop - box.offsetTop - 120;
        box.scrollIntoView({ block: 'nearest', behavior: 'smooth' });
      });
    });
  });
  document.querySelectorAll('.overview a').forEach(function (a) {
    a.addEventListener('click', function () { var d = document.querySelector(a.getAttribute('href') + ' > details'); if (d) d.open = true; });
  });
})();
