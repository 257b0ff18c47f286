"use strict";
(() => {
  const cards = [...document.querySelectorAll("article")].map((card) => ({
    card,
    is: card.dataset.is.split(" "),
    words: null,
  }));
  const words = document.getElementById("words");
  const which = document.getElementById("which");
  const found = document.getElementById("found");
  const plain = (text) => text.normalize("NFKC").toLowerCase();

  function wordsOf(one) {
    if (one.words === null) {
      const parts = [...one.card.querySelectorAll("[data-find]")].map((part) => part.textContent);
      one.words = plain(parts.join("\n"));
    }
    return one.words;
  }

  function show() {
    const asked = plain(words.value).split(/\s+/).filter(Boolean);
    let count = 0;
    for (const one of cards) {
      const isKind = which.value === "" || one.is.includes(which.value);
      const fits = isKind && asked.every((word) => wordsOf(one).includes(word));
      one.card.hidden = !fits;
      count += fits ? 1 : 0;
    }
    for (const section of document.querySelectorAll("section")) {
      const all = section.querySelectorAll("article");
      const isEmpty = all.length > 0 && [...all].every((card) => card.hidden);
      section.querySelector(".nothing").hidden = !isEmpty;
    }
    const isAll = asked.length === 0 && which.value === "";
    found.textContent = isAll ? "" : `${count} of ${cards.length} shown`;
  }

  words.addEventListener("input", show);
  which.addEventListener("change", show);
  document.getElementById("search").hidden = false;
  // A browser that comes back to the page may fill in what was asked before.
  window.addEventListener("pageshow", show);

  const videos = [...document.querySelectorAll("video")];
  const setPoster = (video) => {
    if (video.dataset.poster) {
      video.poster = video.dataset.poster;
    }
  };
  const nearby = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) {
          setPoster(entry.target);
          nearby.unobserve(entry.target);
        }
      }
    },
    { rootMargin: "800px" },
  );
  for (const video of videos) {
    nearby.observe(video);
  }
  document.addEventListener(
    "play",
    (event) => {
      for (const video of videos) {
        if (video !== event.target) {
          video.pause();
        }
      }
    },
    true,
  );
})();
