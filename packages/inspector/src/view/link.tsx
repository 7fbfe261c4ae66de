import type { ComponentChildren } from 'preact';
import type { Controller } from './controller.ts';
import { fragmentOf, type Route } from './route.ts';

interface LinkProps {
  readonly controller: Controller;
  readonly to: Route;
  readonly current?: boolean;
  readonly class?: string;
  readonly children: ComponentChildren;
}

/** Link to a place in the stream; it can be copied, and opened in another tab. */
export function Link({ controller, to, current = false, class: name, children }: LinkProps) {
  const follow = (event: MouseEvent): void => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    controller.go(to);
  };
  return (
    <a href={fragmentOf(to)} class={name} aria-current={current ? 'page' : undefined} onClick={follow}>
      {children}
    </a>
  );
}
