'use strict';
for (const box of document.querySelectorAll('.table')) {
  const body = box.querySelector('tbody');
  const heads = [...box.querySelectorAll('thead th')];
  const rows = [...body.rows];
  const number = text => { const n = parseFloat(text.replace(/,/g, '')); return Number.isNaN(n) ? null : n; };
  const text = (row, column) => row.cells[column].textContent.trim();
  const order = new Intl.Collator('en', { numeric: true });
  heads.forEach((head, column) => head.firstElementChild.addEventListener('click', () => {
    const numbers = !head.classList.contains('t');
    // Numbers begin with the largest, and the third press brings the first order back.
    const steps = numbers ? ['descending', 'ascending', null] : ['ascending', 'descending', null];
    const next = steps[(steps.indexOf(head.getAttribute('aria-sort')) + 1) % 3];
    heads.forEach(other => other.removeAttribute('aria-sort'));
    let sorted = rows;
    if (next) {
      head.setAttribute('aria-sort', next);
      const sign = next === 'ascending' ? 1 : -1;
      const keys = new Map(rows.map(row => [row, numbers ? number(text(row, column)) : text(row, column)]));
      sorted = [...rows].sort((a, b) => {
        const [x, y] = [keys.get(a), keys.get(b)];
        // What is no number comes last.
        if (x === null || y === null) return (x === null) - (y === null);
        return sign * (numbers ? x - y : order.compare(x, y));
      });
    }
    body.append(...sorted);
  }));
  const search = box.querySelector('.search');
  if (!search) continue;
  search.hidden = false;
  const [field, found] = [search.querySelector('input'), search.querySelector('output')];
  field.addEventListener('input', () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const all = [...row.cells].map(cell => cell.textContent).join(' ').toLowerCase();
      row.hidden = !words.every(word => all.includes(word));
      shown += !row.hidden;
    }
    found.textContent = words.length ? `${shown} of ${rows.length} rows` : '';
  });
}
