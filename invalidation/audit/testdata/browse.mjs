// Opens a page of evidence in a headless browser and prints what is seen there.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [page] = process.argv.slice(2);
const tools = createRequire(process.env.BROWSER + "/");
const { default: packed } = await import(pathToFileURL(tools.resolve("@sparticuz/chromium")).href);
const { chromium } = tools("playwright-core");

const browser = await chromium.launch({ executablePath: await packed.executablePath(), args: [...packed.args, "--disable-background-networking"] });
const tab = await browser.newPage({ viewport: { width: 1280, height: 800 } });
const seen = { problems: [], requests: [] };
tab.on("console", (message) => seen.problems.push(message.text()));
tab.on("pageerror", (error) => seen.problems.push(String(error)));
tab.on("dialog", (dialog) => { seen.problems.push("a dialog: " + dialog.message()); void dialog.dismiss(); });
tab.on("request", (request) => seen.requests.push(request.url()));
await tab.goto(pathToFileURL(page).href);
seen.title = await tab.title();
const lines = tab.locator(".line");
seen.secrets = await lines.locator("span").allTextContents();
seen.dots = await lines.locator("circle").evaluateAll((all) => all.map((dot) => dot.getAttribute("class") + " " + dot.getAttribute("cx")));
seen.rows = await tab.locator("#records tbody tr").count();
seen.wider = await tab.evaluate(() => document.documentElement.scrollWidth > innerWidth);
await tab.fill("#filter", "NEON");
seen.filtered = await tab.locator(".line:visible, #records tbody tr:visible").count();
await tab.fill("#filter", "");
await lines.locator("circle").first().click();
seen.reason = await tab.locator("#records tbody tr[data-kind=command] td").last().evaluate((cell) => cell.closest("table").querySelector("tr[data-kind=command] td:last-child").textContent);
await browser.close();
seen.requests = seen.requests.filter((url) => !url.startsWith("file:"));
console.log(JSON.stringify(seen));
