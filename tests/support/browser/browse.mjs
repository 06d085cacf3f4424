// SPDX-FileCopyrightText: The kbtf-ci authors
// SPDX-License-Identifier: GPL-2.0-or-later
// Opens one page in headless Chromium and writes what became of it to OUT/seen.json, with pictures beside it.
// node browse.mjs PAGE.html OUT
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [page, out] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const VIEWS = [
  { name: "wide-light", width: 1280, height: 900, colorScheme: "light" },
  { name: "wide-dark", width: 1280, height: 900, colorScheme: "dark" },
  { name: "phone-light", width: 390, height: 844, colorScheme: "light" },
  { name: "phone-dark", width: 390, height: 844, colorScheme: "dark" },
];
const seen = { requests: [], console: [], errors: [], dialogs: [], views: {}, table: null, keyboard: null };

async function opened(browser, view) {
  const { width, height, colorScheme } = view;
  const context = await browser.newContext({ viewport: { width, height }, colorScheme });
  const tab = await context.newPage();
  context.on("request", (request) => seen.requests.push(request.url()));
  tab.on("console", (message) => seen.console.push(`${message.type()}: ${message.text()}`));
  tab.on("pageerror", (error) => seen.errors.push(String(error)));
  tab.on("dialog", async (dialog) => { seen.dialogs.push(dialog.message()); await dialog.dismiss(); });
  await tab.goto(pathToFileURL(page).href);
  return tab;
}

async function looked(tab, view) {
  await tab.screenshot({ path: `${out}/${view.name}.png` });
  await tab.screenshot({ path: `${out}/${view.name}-full.png`, fullPage: true });
  await tab.evaluate(axe);
  const found = await tab.evaluate(() => window.axe.run());
  return {
    title: await tab.title(),
    overflow: await tab.evaluate(() => document.documentElement.scrollWidth - window.innerWidth),
    scripts: await tab.evaluate(() => document.scripts.length),
    violations: found.violations.map((one) => ({
      id: one.id, impact: one.impact, nodes: one.nodes.map((node) => node.html.slice(0, 200)).slice(0, 5),
    })),
  };
}

async function table(tab) {
  if (!(await tab.$("#table"))) return null;
  const rows = () => tab.$$eval("#table tbody tr", (all) => all.map((row) => row.firstElementChild.textContent));
  // Milliseconds of our own work with the layout that follows, and to the next picture that was drawn.
  const click = (key) => tab.evaluate(async (name) => {
    const began = performance.now();
    document.querySelector(`button[data-key="${name}"]`).click();
    document.body.getBoundingClientRect();
    const worked = performance.now() - began;
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    return { worked, drawn: performance.now() - began };
  }, key);
  const search = (words) => tab.evaluate(async (text) => {
    const field = document.getElementById("search");
    const began = performance.now();
    field.value = text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    document.body.getBoundingClientRect();
    const worked = performance.now() - began;
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    return { worked, drawn: performance.now() - began, count: document.getElementById("count").textContent };
  }, words);
  const found = { first: await rows(), times: {}, searches: {} };
  for (const key of ["name", "outcome", "bytes", "us", "file"]) {
    found.times[key] = await click(key);
    found.times[`${key} again`] = await click(key);
  }
  await click("bytes");
  found.largest = (await rows()).slice(0, 3);
  for (const words of ["script", "kernel x3", "nothing has this name", ""]) found.searches[words] = await search(words);
  return found;
}

async function keyboard(tab) {
  if (!(await tab.$("#table"))) return null;
  const name = await tab.textContent("#table tbody tr:last-child button");
  await tab.keyboard.press("Tab");
  const skip = await tab.evaluate(() => document.activeElement.className);
  await tab.keyboard.press("Enter");
  await tab.focus("#search");
  await tab.keyboard.type(name);
  const count = await tab.textContent("#count");
  await tab.focus('button[data-key="bytes"]');
  await tab.keyboard.press("Enter");
  const sorted = await tab.getAttribute('th:has(button[data-key="bytes"])', "aria-sort");
  const row = tab.locator("#table tbody button").first();
  await row.focus();
  await tab.keyboard.press("Enter");
  const expanded = await row.getAttribute("aria-expanded");
  const details = await tab.textContent("tr.more").catch(() => null);
  return { skip, name, count, sorted, expanded, details };
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
try {
  for (const view of VIEWS) {
    const tab = await opened(browser, view);
    seen.views[view.name] = await looked(tab, view);
    if (view.name === "wide-light") {
      seen.table = await table(tab);
      await tab.reload();
      seen.keyboard = await keyboard(tab);
    }
    await tab.context().close();
  }
} finally {
  await browser.close();
}
writeFileSync(`${out}/seen.json`, JSON.stringify(seen, null, 1));
