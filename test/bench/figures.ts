// How a benchmark prints: `name value unit` lines, each figure followed by its control and the ratio of the two.

/** Quantile by linear interpolation; `values` need not be sorted. Throws RangeError when there are none. */
export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) throw new RangeError("no values");
  const sorted = values.toSorted((a, b) => a - b);
  const position = (sorted.length - 1) * q;
  const low = sorted[Math.floor(position)] ?? 0;
  const high = sorted[Math.ceil(position)] ?? low;
  return low + (high - low) * (position - Math.floor(position));
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Prints a figure: median with the range of all runs behind it. */
export function printFigure(name: string, values: readonly number[], unit: string): void {
  const range = values.length > 1 ? `  (min ${format(Math.min(...values))}, max ${format(Math.max(...values))}, n ${values.length})` : "";
  console.log(`${name} ${format(median(values))} ${unit}${range}`);
}

/** Prints the ratio of paired runs: the median of the pairs' ratios and its quartiles. */
export function printRatio(name: string, figures: readonly number[], controls: readonly number[]): void {
  const ratios = figures.map((value, index) => value / (controls[index] ?? Number.NaN));
  console.log(`${name} ${format(median(ratios))} ratio  (quartiles ${format(quantile(ratios, 0.25))}–${format(quantile(ratios, 0.75))}, n ${ratios.length})`);
}

/** Runs two measurements as A B B A A B B A …, so that drift of the machine hits both alike. */
export async function inPairs(pairs: number, figure: (round: number) => Promise<void>, control: (round: number) => Promise<void>): Promise<void> {
  for (let round = 0; round < pairs; round += 1) {
    const order = round % 2 === 0 ? [figure, control] : [control, figure];
    for (const measure of order) await measure(round);
  }
}

function format(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2);
}
