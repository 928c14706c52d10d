// The pages as a person sees them. TIDEMARK_URL names a running node that collects its own host.
import assert from "node:assert/strict";
import { existsSync, mkdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const url = process.env.TIDEMARK_URL;
const pictures = process.env.TEST_PICTURES;
let browser;

before(async () => {
  const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
  assert.ok(executablePath, "Chromium is missing; `cargo xtask test` installs it");
  const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"];
  browser = await chromium.launch({ executablePath, args });
});

after(async () => browser?.close());

// A page that fails the test on any script error or refused resource.
async function open(path, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(`${error}`));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("response", (response) => response.status() >= 400 && problems.push(`${response.status()} ${response.url()}`));
  await page.goto(`${url}${path}`);
  return { page, problems, close: () => context.close() };
}

async function picture(page, name) {
  if (!pictures) return;
  mkdirSync(pictures, { recursive: true });
  await page.screenshot({ path: `${pictures}/${name}.png`, fullPage: true });
}

test("the overview shows this host within 15 seconds, and its CPU moves", async () => {
  const { page, problems, close } = await open("/");
  const cpu = page.locator("table.hosts tbody tr .c-cpu").first();
  await cpu.waitFor({ timeout: 15_000 });
  const first = await cpu.innerHTML();
  const moved = (before) => document.querySelector("table.hosts tbody tr .c-cpu")?.innerHTML !== before;
  await page.waitForFunction(moved, first, { timeout: 30_000 });
  await picture(page, "overview");
  assert.deepEqual(problems, []);
  await close();
});

for (const path of ["/", "/hosts", "/explore", "/incidents", "/tasks", "/system/storage"]) {
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1280, 360]) {
      test(`${path} fits ${width} px, ${colorScheme}`, async () => {
        const { page, problems, close } = await open(path, { colorScheme, viewport: { width, height: 900 } });
        await page.locator("main").waitFor();
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        assert.ok(overflow <= 0, `the page is ${overflow} px wider than the window`);
        const text = await page.evaluate(() => getComputedStyle(document.body).color);
        const [red] = text.match(/\d+/g).map(Number);
        assert.equal(red > 128, colorScheme === "dark", `the text is ${text}`);
        await picture(page, `${path.slice(1) || "overview"}-${width}-${colorScheme}`);
        assert.deepEqual(problems, []);
        await close();
      });
    }
  }
}

test("explore completes a metric, draws it and keeps its state in the URL", async () => {
  const { page, problems, close } = await open("/explore?m=sum:os.mem.total%7Bhost%3D*%7D&from=15m-ago");
  await page.locator("canvas").first().waitFor({ timeout: 15_000 });
  assert.match(page.url(), /os\.mem\.total/);
  await picture(page, "explore-graph");
  assert.deepEqual(problems, []);
  await close();
});

test("an incident is acknowledged from its page", async () => {
  const { page, problems, close } = await open("/incidents");
  const incident = page.getByText("browser.always").first();
  await incident.waitFor({ timeout: 40_000 });
  await incident.click();
  await page.getByRole("button", { name: "Acknowledge" }).click();
  await page.getByRole("textbox", { name: /message/i }).fill("seen by the browser");
  await page.getByRole("dialog").getByRole("button", { name: "Acknowledge" }).click();
  await page.getByText("seen by the browser").first().waitFor({ timeout: 10_000 });
  await picture(page, "incident");
  assert.deepEqual(problems, []);
  await close();
});
