/** A client process that is ready and then hears nothing any more, its parent's end neither. */
process.send({ type: "ready" }, () => {
  for (;;);
});
