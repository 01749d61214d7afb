// Elements, made and found.

/** The element that the page has by this id. */
export function find<T extends HTMLElement>(id: string): T {
    const found = document.getElementById(id);
    if (!found) throw new Error(`The page has no #${id}.`);
    return found as T;
}

export function make<K extends keyof HTMLElementTagNameMap>(
    name: K,
    attributes: Record<string, string> = {},
    ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
}

/** Sets text only where it differs: what did not change is not read aloud again. */
export function write(element: HTMLElement, text: string): void {
    if (element.textContent !== text) element.textContent = text;
}

/** Seconds as people say them. */
export function seconds(ms: number): string {
    return ms < 995 ? `${Math.max(0, Math.round(ms))} ms` : `${(ms / 1000).toFixed(2)} s`;
}
