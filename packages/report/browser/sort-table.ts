/** Turns the heads of a table's columns into buttons that sort its rows, first click ascending, second descending. */
export function makeSortable(table: HTMLTableElement): void {
  const heads = [...table.tHead!.rows[0]!.cells];
  for (const [column, head] of heads.entries()) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortRows(table.tBodies[0]!, column, descending);
    });
  }
}

function sortRows(body: HTMLTableSectionElement, column: number, descending: boolean): void {
  const direction = descending ? -1 : 1;
  const rows = [...body.rows].sort((a, b) => direction * compare(a.cells[column]!, b.cells[column]!));
  body.replaceChildren(...rows);
}

/** Numbers by value, text by its words and the numbers within; what is absent comes first. */
function compare(a: HTMLElement, b: HTMLElement): number {
  const [left, right] = [a.dataset.value, b.dataset.value];
  if (left !== undefined && right !== undefined) return Number(left) - Number(right);
  if (left !== undefined || right !== undefined) return left === undefined ? -1 : 1;
  return a.textContent!.localeCompare(b.textContent!, "en", { numeric: true });
}
