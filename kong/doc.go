// Package kong converts Kong's declarative files, as written for its DB-less mode
// and by deck, to route files of meshgw.
//
// It is pure, and reports what it could not convert. If that concerns
// authentication or access, the affected routes answer 503: none becomes open that
// was protected before.
package kong
