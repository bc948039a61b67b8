// The page: a file that shows what it holds, or the live page of a server.
import { App } from "./app";
import { say, the } from "./dom";
import { fromData, opened } from "./files";
import { startLive } from "./live";

const app = new App();
const data = JSON.parse(the("trace").textContent || "null");

function show(found: ReturnType<typeof fromData>): void {
  app.texts.add(found.texts);
  app.show(found.thoughts);
  const ids = found.thoughts.flatMap((thought) => Array.from({ length: Math.min(thought.n, 50) },
    (_, i) => thought.emitted(i)));
  if (!app.texts.lookup && ids.some((id) => app.texts.get(id) === undefined)) {
    say("The texts of the tokens are not in this file: #12 stands for token 12.");
  }
}

const input = the<HTMLInputElement>("file");
the("open").addEventListener("click", () => input.click());
input.addEventListener("change", async () => {
  const file = input.files?.[0];
  input.value = "";
  if (!file) return;
  try {
    show(await opened(file));
    say(`Opened ${file.name}.`);
  } catch (error) {
    say(`error: ${(error as Error).message}`, true);
  }
});

if (data !== null) {
  try {
    show(fromData(data));
  } catch (error) {
    say(`error: the data of this page: ${(error as Error).message}`, true);
  }
} else if (location.protocol.startsWith("http")) {
  void startLive(app);
} else {
  say("This page holds no thought: open a file.");
}
document.documentElement.dataset.ready = "true";
