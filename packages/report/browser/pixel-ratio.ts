// Stands in for the window's value inside uPlot: twice the pixels of an ordinary screen, so that plots print sharply.
const ratio = Math.max(2, window.devicePixelRatio);

export { ratio as devicePixelRatio };
