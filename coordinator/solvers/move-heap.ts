/** The cheapest move out of one site into another: a binary heap whose entries die when their task has moved. */
export interface Movable {
  /** Index of the site the task is at. */
  site: number;
}

export class MoveHeap<Task extends Movable> {
  readonly #site: number;
  #costs: number[] = [];
  #tasks: Task[] = [];
  #sizeChecked = 64;

  /** Moves out of the site with this index. */
  constructor(site: number) {
    this.#site = site;
  }

  push(cost: number, task: Task): void {
    if (this.#tasks.length >= this.#sizeChecked) this.#compact();
    let at = this.#tasks.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.#costs[parent]! <= cost) break;
      this.#costs[at] = this.#costs[parent]!;
      this.#tasks[at] = this.#tasks[parent]!;
      at = parent;
    }
    this.#costs[at] = cost;
    this.#tasks[at] = task;
  }

  /** Cost of the cheapest move, Infinity when there is none. */
  minCost(): number {
    return this.#settle() ? this.#costs[0]! : Infinity;
  }

  /** Task of the cheapest move. */
  minTask(): Task | undefined {
    return this.#settle() ? this.#tasks[0] : undefined;
  }

  /** Drops dead entries from the top; false when nothing is left. */
  #settle(): boolean {
    while (this.#tasks.length > 0 && this.#tasks[0]!.site !== this.#site) this.#pop();
    return this.#tasks.length > 0;
  }

  #pop(): void {
    const cost = this.#costs.pop()!;
    const task = this.#tasks.pop()!;
    const size = this.#tasks.length;
    if (size === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && this.#costs[child + 1]! < this.#costs[child]!) child += 1;
      if (this.#costs[child]! >= cost) break;
      this.#costs[at] = this.#costs[child]!;
      this.#tasks[at] = this.#tasks[child]!;
      at = child;
    }
    this.#costs[at] = cost;
    this.#tasks[at] = task;
  }

  /** Rebuilds without the dead and the doubled, so that memory follows what is alive. */
  #compact(): void {
    const alive = new Map<Task, number>();
    this.#tasks.forEach((task, at) => {
      if (task.site === this.#site) alive.set(task, this.#costs[at]!);
    });
    [this.#costs, this.#tasks] = [[], []];
    this.#sizeChecked = Infinity;
    for (const [task, cost] of alive) this.push(cost, task);
    this.#sizeChecked = Math.max(64, 2 * alive.size);
  }
}
