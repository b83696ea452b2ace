// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { createClient } from "@troupe/client";
import { ActorProvider } from "@troupe/react";
import { StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { forgetName, nameOfTab, setName } from "./identity.js";
import { hashOf, type Place, placeOf } from "./place.js";
import { Room } from "./room.js";
import { Welcome } from "./welcome.js";

const actors = createClient({ baseUrl: location.origin });

/** Shows what the URL and the tab's name say: the welcome card or a room. */
function App() {
  const [place, setPlace] = useState(() => placeOf(location.hash));
  const [name, rename] = useState(nameOfTab);

  useEffect(() => {
    const route = () => setPlace(placeOf(location.hash));
    addEventListener("hashchange", route);
    return () => removeEventListener("hashchange", route);
  }, []);

  /** Goes to a room. It throws for one that cannot be. */
  const go = (to: Place) => {
    location.hash = hashOf(to);
    setPlace(to);
  };

  if (place === undefined || name === "") {
    const join = (as: string, to: Place) => {
      go(to);
      setName(as);
      rename(as);
    };
    return <Welcome place={place} onJoin={join} />;
  }
  const leave = () => {
    forgetName();
    rename("");
  };
  // Another room is another component: nothing of the one before stays.
  return <Room key={hashOf(place)} place={place} user={name} onGo={go} onLeave={leave} />;
}

const root = document.getElementById("root");
if (root !== null) {
  createRoot(root).render(
    <StrictMode>
      <ActorProvider client={actors}>
        <App />
      </ActorProvider>
    </StrictMode>,
  );
}
