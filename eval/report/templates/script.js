"use strict";
// Without this script the page shows everything; it adds copying, playing two videos at once, and videos that seek.
for (const video of document.querySelectorAll("video")) {
  // A blob can be sought in every browser; not all of them play a data URL.
  const [, encoded] = video.src.split(",", 2);
  const bytes = Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
  video.src = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
}

for (const button of document.querySelectorAll("button.both")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    for (const video of button.closest(".pair").querySelectorAll("video")) {
      video.currentTime = 0;
      video.play();
    }
  });
}

for (const button of document.querySelectorAll("button.copy")) {
  const label = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const text = button.dataset.command ?? button.parentElement.querySelector("code").textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      window.prompt("Copy this command:", text);
    }
    setTimeout(() => { button.textContent = label; }, 1500);
  });
}
