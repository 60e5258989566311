import type { Drawing } from "../src/plots/drawing.ts";
import { drawPanel, type PanelView } from "./draw-panel.ts";
import { makeSortable } from "./sort-table.ts";

const print = matchMedia("print");
const dark = matchMedia("(prefers-color-scheme: dark)");

const views = [...document.querySelectorAll<HTMLElement>("figure.plot")].flatMap(drawFigure);

function drawFigure(figure: HTMLElement): readonly PanelView[] {
  const drawing: Drawing = JSON.parse(figure.querySelector("script.drawing")!.textContent!);
  return [...figure.querySelectorAll<HTMLElement>(".panel")].map((element, index) =>
    drawPanel(element, drawing, index, figure.id),
  );
}

function redraw(): void {
  for (const view of views) view.redraw();
}

// Widths in CSS pixels between the margins of A4 and Letter: text that is scaled with its plot would be too small to read.
const paperWidth = 680;
const halfPaperWidth = 325;

let isPrinting = false;
// Before the browser counts pages: what grows after that is cut off at the end.
addEventListener("beforeprint", () => {
  isPrinting = true;
  for (const view of views) view.resize(view.canvas.closest(".figures") === null ? paperWidth : halfPaperWidth);
});
addEventListener("afterprint", () => {
  isPrinting = false;
  for (const view of views) view.resize();
});

const widths = new ResizeObserver((entries) => {
  if (isPrinting) return;
  for (const { target } of entries) for (const view of views) if (view.canvas === target) view.resize();
});
for (const view of views) widths.observe(view.canvas);

// Colours are read from the style sheet at every drawing; the sheet knows about dark screens and white paper.
dark.addEventListener("change", redraw);
print.addEventListener("change", redraw);

for (const table of document.querySelectorAll<HTMLTableElement>("table.sortable")) makeSortable(table);
document.documentElement.dataset.drawn = String(views.length);
