// Opens the pages of a folder in Chromium by its DevTools protocol, over a pipe, and checks what no other test can see.
// node browser.mjs PROFILE PAGES [PICTURES]
import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [profile, folder, pictures] = process.argv.slice(2);
const quiet = ['--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const options = ['--headless', '--no-sandbox', '--disable-gpu', ...quiet, `--user-data-dir=${profile}`, '--remote-debugging-pipe'];
const chromium = spawn('chromium', [...options, 'about:blank'], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
const [to, from] = [chromium.stdio[3], chromium.stdio[4]];
setTimeout(() => { console.error('the browser takes too long'); chromium.kill('SIGKILL'); process.exit(1); }, 180_000).unref();

// Messages end in zeros.
let last = 0;
let rest = '';
const waiting = new Map();
const listeners = [];
from.setEncoding('utf8');
from.on('data', text => {
  const messages = (rest + text).split('\0');
  rest = messages.pop();
  for (const message of messages.map(text => JSON.parse(text))) {
    if (!message.id) listeners.forEach(listener => listener(message));
    else {
      const { resolve, reject } = waiting.get(message.id);
      waiting.delete(message.id);
      message.error ? reject(new Error(message.error.message)) : resolve(message.result);
    }
  }
});
let session;
const send = (method, params = {}) => new Promise((resolve, reject) => {
  waiting.set(++last, { resolve, reject });
  to.write(JSON.stringify({ id: last, method, params, sessionId: session }) + '\0');
});

const { targetInfos } = await send('Target.getTargets');
const page = targetInfos.find(target => target.type === 'page');
session = (await send('Target.attachToTarget', { targetId: page.targetId, flatten: true })).sessionId;
await Promise.all(['Page', 'Runtime', 'Log', 'Network'].map(domain => send(`${domain}.enable`)));
const said = [];
listeners.push(({ method, params }) => {
  if (method === 'Runtime.exceptionThrown') said.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
  if (method === 'Runtime.consoleAPICalled') said.push(`console.${params.type}`);
  if (method === 'Log.entryAdded') said.push(params.entry.text);
  if (method === 'Page.javascriptDialogOpening') said.push('a dialog');
  if (method === 'Network.requestWillBeSent' && !/^(file|data):/.test(params.request.url)) said.push(`fetches ${params.request.url}`);
});

async function open(file, width, scheme) {
  await send('Emulation.setDeviceMetricsOverride', { width, height: 900, deviceScaleFactor: 1, mobile: width < 600 });
  await send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
  const loaded = new Promise(resolve => listeners.push(({ method }) => method === 'Page.loadEventFired' && resolve()));
  await send('Page.navigate', { url: pathToFileURL(file).href });
  await loaded;
}

async function inside(check) {
  const { result, exceptionDetails } = await send('Runtime.evaluate', { expression: `(${check})()`, returnByValue: true });
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  return result.value;
}

// What follows runs within the page; each returns the faults that it finds.

function looks() {
  const faults = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) faults.push(`is ${root.scrollWidth} wide on a screen of ${root.clientWidth}`);
  if (!document.title || root.lang !== 'en') faults.push('has no title or no language');
  for (const table of document.querySelectorAll('table')) {
    const heads = table.querySelectorAll('thead th[scope=col]').length;
    const whole = [...table.tBodies[0].rows].every(row => row.cells.length === heads && row.cells[0].matches('th[scope=row]'));
    if (!whole) faults.push('has a row without a header, or with other columns');
  }
  // Contrast of text as WCAG 2.2 counts it, on what really lies behind it.
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const known = new Map();
  const rgb = (color, under) => {
    const key = `${color} on ${under}`;
    if (!known.has(key)) known.set(key, painted(color, under));
    return known.get(key);
  };
  const painted = (color, under) => {
    canvas.fillStyle = `rgb(${under})`;
    canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = color => {
    const [r, g, b] = color.map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const backs = new Map();
  const behind = element => {
    if (!backs.has(element)) {
      const under = element.parentElement ? behind(element.parentElement) : [255, 255, 255];
      backs.set(element, rgb(getComputedStyle(element).backgroundColor, under));
    }
    return backs.get(element);
  };
  const seen = new Set();
  for (const element of document.querySelectorAll('h1, h2, p, a, dt, dd, small, li, figcaption, label, output, th, td, button, svg text')) {
    const back = behind(element);
    const style = getComputedStyle(element);
    const front = rgb(element.closest('svg') ? style.fill : style.color, back);
    const [low, high] = [light(front), light(back)].sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05);
    const what = `${element.tagName} has a contrast of ${contrast.toFixed(2)}`;
    if (contrast < 4.5 && !seen.has(what)) faults.push(what);
    seen.add(what);
  }
  return faults;
}

function sorts() {
  const faults = [];
  const text = rows => rows.map(row => row.textContent).join('\n');
  for (const table of document.querySelectorAll('table')) {
    const body = table.tBodies[0];
    const before = text([...body.rows]);
    [...table.querySelectorAll('thead th')].forEach((head, column) => {
      const numbers = !head.classList.contains('t');
      const expected = numbers ? ['descending', 'ascending', null] : ['ascending', 'descending', null];
      for (const order of expected) {
        head.querySelector('button').click();
        const rows = [...body.rows];
        const what = `${head.textContent}, ${order}`;
        if (head.getAttribute('aria-sort') !== order) faults.push(`${what}: not told`);
        if (table.querySelectorAll('[aria-sort]').length !== (order ? 1 : 0)) faults.push(`${what}: told of another column`);
        if (!order && text(rows) !== before) faults.push(`${what}: the first order does not come back`);
        if (!order || !numbers) continue;
        const values = rows.map(row => parseFloat(row.cells[column].textContent.replace(/,/g, ''))).filter(value => !Number.isNaN(value));
        const wrong = values.some((value, i) => i > 0 && (order === 'ascending' ? values[i - 1] > value : values[i - 1] < value));
        if (wrong) faults.push(`${what}: ${values.slice(0, 8)}`);
      }
    });
  }
  return faults;
}

function searches() {
  const faults = [];
  for (const box of document.querySelectorAll('.table')) {
    const rows = [...box.querySelectorAll('tbody tr')];
    const search = box.querySelector('.search');
    if (!search !== rows.length <= 12) faults.push(`${rows.length} rows, search: ${!!search}`);
    if (!search) continue;
    const shown = words => {
      const field = search.querySelector('input');
      field.value = words;
      field.dispatchEvent(new Event('input'));
      return rows.filter(row => row.offsetParent !== null);
    };
    const name = rows[rows.length >> 1].cells[0].textContent.trim();
    const found = shown(name.toUpperCase());
    if (!found.some(row => row.cells[0].textContent.trim() === name) || found.length === rows.length) faults.push(`search for ${name}: ${found.length}`);
    if (!search.querySelector('output').textContent.startsWith(`${found.length} of`)) faults.push('the number of rows is not told');
    if (shown('no such row').length !== 0) faults.push('finds what is not there');
    if (shown('').length !== rows.length) faults.push('not all rows come back');
  }
  return faults;
}

let failed = false;
const files = readdirSync(folder).filter(name => name.endsWith('.html'));
if (files.length === 0) throw new Error(`${folder} has no pages`);
if (pictures) mkdirSync(pictures, { recursive: true });
for (const name of files) {
  for (const [width, scheme] of [[1280, 'light'], [1280, 'dark'], [390, 'light']]) {
    const start = Date.now();
    await open(join(folder, name), width, scheme);
    const faults = await inside(looks);
    if (pictures) {
      const { data } = await send('Page.captureScreenshot', { captureBeyondViewport: true });
      writeFileSync(join(pictures, `${name.slice(0, -5)}-${width}-${scheme}.png`), data, 'base64');
    }
    if (scheme === 'light') faults.push(...await inside(sorts), ...await inside(searches));
    faults.push(...said.splice(0));
    console.log(`${name}, ${width} wide, ${scheme}: ${faults.length} faults, ${Date.now() - start} ms`);
    faults.slice(0, 20).forEach(fault => console.log(`  ${fault}`));
    failed ||= faults.length > 0;
  }
}
// It writes to its profile until it is gone.
const gone = new Promise(resolve => chromium.on('exit', resolve));
await send('Browser.close').catch(() => {});
await gone;
process.exit(failed ? 1 : 0);
