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

async function post(path, body) {
  const answer = await fetch(`${url}/api/tidemark/v1${path}`, { method: "POST", body: JSON.stringify(body ?? {}) });
  assert.ok(answer.ok, `${path}: ${answer.status}`);
  return answer.status === 204 ? null : answer.json();
}

test("a job, its worker and a workflow have pages that fit a phone and both themes", async () => {
  const { job } = await post("/jobs?wait=20s", { kind: "rollup", step: "seal" });
  const nodes = [{ job: { kind: "rollup", step: "seal" } }, { job: { kind: "rollup", step: "compact" }, after: [0], always: true }];
  const { workflow } = await post("/workflows", { name: "tidy up", nodes });
  const { workers } = await (await fetch(`${url}/api/tidemark/v1/workers`)).json();
  const pages = {
    job: [`/tasks/${job}`, "sealed"],
    worker: [`/tasks/workers/${encodeURIComponent(workers[0].worker)}`, "rollup"],
    workflow: [`/tasks/workflows/${workflow}`, "tidy up"],
  };
  for (const [name, [path, text]] of Object.entries(pages)) {
    for (const colorScheme of ["light", "dark"]) {
      for (const width of [1280, 360]) {
        const { page, problems, close } = await open(path, { colorScheme, viewport: { width, height: 900 } });
        await page.getByText(text).first().waitFor({ timeout: 10_000 });
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        assert.ok(overflow <= 0, `${name} is ${overflow} px wider than ${width} px`);
        await picture(page, `${name}-${width}-${colorScheme}`);
        assert.deepEqual(problems, []);
        await close();
      }
    }
  }
});

test("jobs are searched, opened and called off, and the page follows", async () => {
  const { job } = await post("/jobs", { kind: "rollup", step: "compact", not_before: "+1h" });
  const { page, problems, close } = await open("/tasks?state=scheduled&q=kind:rollup");
  const link = page.locator(`a[href="/tasks/${job}"]`);
  await link.waitFor({ timeout: 10_000 });
  await link.click();
  await page.getByRole("heading", { name: "rollup", exact: true }).waitFor();
  await page.getByText("Compact").first().waitFor();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel job" }).click();
  await page.locator(".task-head .state.cancelled").waitFor({ timeout: 10_000 });
  await page.getByRole("button", { name: "Retry" }).click();
  await page.locator(".task-head .state.completed").waitFor({ timeout: 20_000 });
  assert.deepEqual(problems, []);
  await close();
});

test("a queue is paused and resumed, and a schedule is run now, live", async () => {
  await post("/jobs?wait=20s", { kind: "rollup", step: "seal" });
  const { page, problems, close } = await open("/tasks");
  const queue = page.locator('tr[data-key="queue-rollup"]');
  await queue.getByRole("button", { name: "Pause" }).click();
  await queue.getByText("paused").waitFor({ timeout: 10_000 });
  const schedule = page.locator('tr[data-key="schedule-compact"]');
  assert.equal(await schedule.locator(".c-next span").count(), 5);
  await schedule.getByRole("button", { name: "Run now" }).click();
  await page.waitForFunction(() => document.querySelector('tr[data-key="queue-rollup"] td')?.textContent === "1", null, { timeout: 10_000 });
  await picture(page, "tasks-paused");
  await queue.getByRole("button", { name: "Resume" }).click();
  await queue.getByText("paused").waitFor({ state: "detached", timeout: 10_000 });
  await queue.getByRole("button", { name: "Drain" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Drain rollup" }).click();
  await queue.getByText("draining").waitFor({ timeout: 10_000 });
  await queue.getByRole("button", { name: "Resume" }).click();
  await queue.getByText("draining").waitFor({ state: "detached", timeout: 10_000 });
  assert.deepEqual(problems, []);
  await close();
});

test("a worker is told from its page to run more of a queue", async () => {
  const { workers } = await (await fetch(`${url}/api/tidemark/v1/workers`)).json();
  const { page, problems, close } = await open(`/tasks/workers/${encodeURIComponent(workers[0].worker)}`);
  const count = page.locator('tr[data-key="queue-evaluate"] td.num');
  const before = Number(await count.textContent());
  await page.getByRole("button", { name: "One more of evaluate" }).click();
  await page.locator('tr[data-key="queue-evaluate"] td.num', { hasText: `${before + 1}` }).waitFor({ timeout: 20_000 });
  await picture(page, "worker-scaled");
  assert.deepEqual(problems, []);
  await close();
});

test("what happens to jobs is told on the socket", async () => {
  const { page, problems, close } = await open("/tasks");
  const heard = page.evaluate(
    () =>
      new Promise((resolve, reject) => {
        const socket = new WebSocket(new URL("/api/ws", location.href).href.replace("http", "ws"));
        const told = [];
        socket.onopen = () => socket.send(JSON.stringify({ op: "sub", id: 9, topic: "events" }));
        socket.onerror = () => reject(new Error("the socket failed"));
        socket.onmessage = ({ data }) => {
          const message = JSON.parse(data);
          if (message.id !== 9 || message.job?.kind !== "rollup") return;
          told.push(message.event);
          if (message.event === "completed") resolve(told);
        };
        setTimeout(() => reject(new Error(`heard only ${told}`)), 25_000);
      }),
  );
  // Nobody tells when the server begins to listen, so jobs come until one is told of.
  let told = null;
  heard.then((events) => (told = events), () => (told = []));
  while (told === null) await post("/jobs?wait=1s", { kind: "rollup", step: "seal" });
  assert.ok((await heard).includes("completed"));
  assert.deepEqual(problems, []);
  await close();
});
