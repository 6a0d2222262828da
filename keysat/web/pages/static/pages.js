// The pages work without this script. It copies a key, applies a code, counts down the time to pay, and shows news of a
// purchase without reloading.
(() => {
  "use strict";
  const main = () => document.getElementById("content");

  const reveal = () => {
    for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    let result = button.dataset.done;
    try {
      await navigator.clipboard.writeText(source.textContent.trim());
    } catch {
      // The browser refuses, or has no clipboard for pages without encryption.
      getSelection().selectAllChildren(source);
      result = button.dataset.failed;
    }
    button.textContent = result;
    document.getElementById("news").textContent = result;
  });

  // Enter in a field buys, but whoever has just typed a code wants to see what it does.
  document.addEventListener("keydown", (event) => {
    const apply = event.key === "Enter" && event.target.id === "code" && document.querySelector("[name=do][value=apply]");
    if (!apply) return;
    event.preventDefault();
    apply.click();
  });

  // Browsers that load a page anew on Back get another key of the form. The entry in the history keeps the first one.
  const keepKey = () => {
    const key = document.querySelector("#order [name=key]");
    if (!key) return;
    if (history.state?.key) key.value = history.state.key;
    else history.replaceState({ key: key.value }, "");
  };

  const show = (page) => {
    const next = page.getElementById("content");
    const changed = next.dataset.state !== main().dataset.state;
    // While somebody uses the keyboard in the page, only a new state replaces it.
    if (!changed && main().contains(document.activeElement)) return;
    main().replaceWith(next);
    reveal();
    countDown();
    if (!changed) return;
    document.title = page.title;
    document.getElementById("news").textContent = next.querySelector("h1").textContent;
  };

  const countDown = () => {
    for (const left of document.querySelectorAll("[data-until]")) {
      const seconds = Math.max(0, Math.floor((Date.parse(left.dataset.until) - Date.now()) / 1000));
      const minutes = String(Math.floor(seconds / 60) % 60).padStart(2, "0");
      left.textContent = `(${Math.floor(seconds / 3600)}:${minutes}:${String(seconds % 60).padStart(2, "0")})`;
    }
  };

  const ask = async () => {
    try {
      const response = await fetch(location.href, { cache: "no-store" });
      if (response.ok) show(new DOMParser().parseFromString(await response.text(), "text/html"));
    } catch {
      // The connection failed. The next try may work.
    }
    wait();
  };

  let timer;
  const wait = () => {
    clearTimeout(timer);
    const seconds = Number(main().dataset.seconds);
    if (seconds && !document.hidden) timer = setTimeout(ask, seconds * 1000);
  };

  document.addEventListener("visibilitychange", () => {
    if (main().dataset.seconds && !document.hidden) ask();
  });
  reveal();
  keepKey();
  countDown();
  setInterval(countDown, 1000);
  wait();
})();
