/**
 * The normative statements of MQTT 5.0 (its Appendix B) and, as `v3:`, of MQTT 3.1.1 (its Appendix B): their numbers
 * and first words. A test says in its title which of them it proves; what no test can prove has its reason here.
 */

export interface Statement {
  id: string
  words: string
}

/** Statements that no test of a broker can prove, and why. */
export const REASONS: Readonly<Record<string, string>> = {
  'MQTT-3.1.2-20': 'binds the client',
  'MQTT-3.2.2-4': 'binds the client',
  'MQTT-3.2.2-5': 'binds the client',
  'MQTT-3.3.2-10': 'binds the client',
  'MQTT-3.3.4-5': 'holds for a server that sends several copies; this one sends one, see MQTT-3.3.4-4',
  'MQTT-3.3.4-8': 'binds the client',
  'MQTT-4.5.0-2': 'binds the client',
  'v3:MQTT-2.3.1-2': 'binds the client',
  'v3:MQTT-3.1.2-23': 'binds the client',
  'v3:MQTT-4.5.0-2': 'binds the client',
}

const MQTT_5 = `
MQTT-1.5.4-1 The character data in a UTF-8 Encoded String MUST be well-formed UTF-8
MQTT-1.5.4-2 A UTF-8 Encoded String MUST NOT include an encoding of the null
MQTT-1.5.4-3 A UTF-8 encoded sequence 0xEF 0xBB 0xBF is always interpreted as U+FEFF
MQTT-1.5.5-1 The encoded value MUST use the minimum number of bytes necessary to
MQTT-1.5.7-1 Both strings MUST comply with the requirements for UTF-8 Encoded Strings
MQTT-2.1.3-1 Where a flag bit is marked as "Reserved" it is reserved for
MQTT-2.2.1-2 A PUBLISH packet MUST NOT contain a Packet Identifier if its QoS
MQTT-2.2.1-3 Each time a Client sends a new SUBSCRIBE, UNSUBSCRIBE,or PUBLISH (where QoS
MQTT-2.2.1-4 Each time a Server sends a new PUBLISH (with QoS > 0)
MQTT-2.2.1-5 A PUBACK, PUBREC, PUBREL, or PUBCOMP packet MUST contain the same Packet
MQTT-2.2.1-6 A SUBACK and UNSUBACK MUST contain the Packet Identifier that was used
MQTT-2.2.2-1 If there are no properties, this MUST be indicated by including a
MQTT-3.1.0-1 After a Network Connection is established by a Client to a Server
MQTT-3.1.0-2 The Server MUST process a second CONNECT packet sent from a Client
MQTT-3.1.2-1 The protocol name MUST be the UTF-8 String "MQTT". If the Server
MQTT-3.1.2-2 If the Protocol Version is not 5 and the Server does not
MQTT-3.1.2-3 The Server MUST validate that the reserved flag in the CONNECT packet
MQTT-3.1.2-4 If a CONNECT packet is received with Clean Start is set to
MQTT-3.1.2-5 If a CONNECT packet is received with Clean Start set to 0
MQTT-3.1.2-6 If a CONNECT packet is received with Clean Start set to 0
MQTT-3.1.2-7 If the Will Flag is set to 1 this indicates that, a
MQTT-3.1.2-8 The Will Message MUST be published after the Network Connection is subsequently
MQTT-3.1.2-9 If the Will Flag is set to 1, the Will Properties, Will
MQTT-3.1.2-10 The Will Message MUST be removed from the stored Session State in
MQTT-3.1.2-11 If the Will Flag is set to 0, then the Will QoS
MQTT-3.1.2-12 If the Will Flag is set to 1, the value of Will
MQTT-3.1.2-13 If the Will Flag is set to 0, then Will Retain MUST
MQTT-3.1.2-14 If the Will Flag is set to 1 and Will Retain is
MQTT-3.1.2-15 If the Will Flag is set to 1 and Will Retain is
MQTT-3.1.2-16 If the User Name Flag is set to 0, a User Name
MQTT-3.1.2-17 If the User Name Flag is set to 1, a User Name
MQTT-3.1.2-18 If the Password Flag is set to 0, a Password MUST NOT
MQTT-3.1.2-19 If the Password Flag is set to 1, a Password MUST be
MQTT-3.1.2-20 If Keep Alive is non-zero and in the absence of sending any
MQTT-3.1.2-21 If the Server returns a Server Keep Alive on the CONNACK packet
MQTT-3.1.2-22 If the Keep Alive value is non-zero and the Server does not
MQTT-3.1.2-23 The Client and Server MUST store the Session State after the Network
MQTT-3.1.2-24 The Server MUST NOT send packets exceeding Maximum Packet Size to the
MQTT-3.1.2-25 Where a Packet is too large to send, the Server MUST discard
MQTT-3.1.2-26 The Server MUST NOT send a Topic Alias in a PUBLISH packet
MQTT-3.1.2-27 If Topic Alias Maximum is absent or zero, the Server MUST NOT
MQTT-3.1.2-28 A value of 0 indicates that the Server MUST NOT return Response
MQTT-3.1.2-29 If the value of Request Problem Information is 0, the Server MAY
MQTT-3.1.2-30 If a Client sets an Authentication Method in the CONNECT, the Client
MQTT-3.1.3-1 The Payload of the CONNECT packet contains one or more length-prefixed fields
MQTT-3.1.3-2 The ClientID MUST be used by Clients and by Servers to identify
MQTT-3.1.3-3 The ClientID MUST be present and is the first field in the
MQTT-3.1.3-4 The ClientID MUST be a UTF-8 Encoded String
MQTT-3.1.3-5 The Server MUST allow ClientID's which are between 1 and 23 UTF-8
MQTT-3.1.3-6 A Server MAY allow a Client to supply a ClientID that has
MQTT-3.1.3-7 It MUST then process the CONNECT packet as if the Client had
MQTT-3.1.3-8 If the Server rejects the ClientID it MAY respond to the CONNECT
MQTT-3.1.3-9 If a new Network Connection to this Session is made before the
MQTT-3.1.3-10 The Server MUST maintain the order of User Properties when forwarding the
MQTT-3.1.3-11 The Will Topic MUST be a UTF-8 Encoded String
MQTT-3.1.3-12 If the User Name Flag is set to 1, the User Name
MQTT-3.1.4-1 The Server MUST validate that the CONNECT packet matches the format described
MQTT-3.1.4-2 The Server MAY check that the contents of the CONNECT packet meet
MQTT-3.1.4-3 If the ClientID represents a Client already connected to the Server, the
MQTT-3.1.4-4 The Server MUST perform the processing of Clean Start
MQTT-3.1.4-5 The Server MUST acknowledge the CONNECT packet with a CONNACK packet containing
MQTT-3.1.4-6 If the Server rejects the CONNECT, it MUST NOT process any data
MQTT-3.2.0-1 The Server MUST send a CONNACK with a 0x00 (Success) Reason Code
MQTT-3.2.0-2 The Server MUST NOT send more than one CONNACK in a Network
MQTT-3.2.2-1 Byte 1 is the "Connect Acknowledge Flags". Bits 7-1 are reserved and
MQTT-3.2.2-2 If the Server accepts a connection with Clean Start set to 1
MQTT-3.2.2-3 If the Server accepts a connection with Clean Start set to 0
MQTT-3.2.2-4 If the Client does not have Session State and receives Session Present
MQTT-3.2.2-5 If the Client does have Session State and receives Session Present set
MQTT-3.2.2-6 If a Server sends a CONNACK packet containing a non-zero Reason Code
MQTT-3.2.2-7 If a Server sends a CONNACK packet containing a Reason code of
MQTT-3.2.2-8 The Server sending the CONNACK packet MUST use one of the Connect
MQTT-3.2.2-9 If a Server does not support QoS 1 or QoS 2 PUBLISH
MQTT-3.2.2-10 A Server that does not support QoS 1 or QoS 2 PUBLISH
MQTT-3.2.2-11 If a Client receives a Maximum QoS from a Server, it MUST
MQTT-3.2.2-12 If a Server receives a CONNECT packet containing a Will QoS that
MQTT-3.2.2-13 If a Server receives a CONNECT packet containing a Will Message with
MQTT-3.2.2-14 A Client receiving Retain Available set to 0 from the Server MUST
MQTT-3.2.2-15 The Client MUST NOT send packets exceeding Maximum Packet Size to the
MQTT-3.2.2-16 If the Client connects using a zero length Client Identifier, the Server
MQTT-3.2.2-17 The Client MUST NOT send a Topic Alias in a PUBLISH packet
MQTT-3.2.2-18 Topic Alias Maximum is absent, the Client MUST NOT send any Topic
MQTT-3.2.2-19 The Server MUST NOT send this property if it would increase the
MQTT-3.2.2-20 The Server MUST NOT send this property if it would increase the
MQTT-3.2.2-21 If the Server sends a Server Keep Alive on the CONNACK packet
MQTT-3.2.2-22 If the Server does not send the Server Keep Alive, the Server
MQTT-3.3.1-1 The DUP flag MUST be set to 1 by the Client or
MQTT-3.3.1-2 The DUP flag MUST be set to 0 for all QoS 0
MQTT-3.3.1-3 The DUP flag in the outgoing PUBLISH packet is set independently to
MQTT-3.3.1-4 A PUBLISH Packet MUST NOT have both QoS bits set to 1
MQTT-3.3.1-5 If the RETAIN flag is set to 1 in a PUBLISH packet
MQTT-3.3.1-6 If the Payload contains zero bytes it is processed normally by the
MQTT-3.3.1-7 A retained message with a Payload containing zero bytes MUST NOT be
MQTT-3.3.1-8 If the RETAIN flag is 0 in a PUBLISH packet sent by
MQTT-3.3.1-9 If Retain Handling is set to 0 the Server MUST send the
MQTT-3.3.1-10 If Retain Handling is set to 1 then if the subscription did
MQTT-3.3.1-11 If Retain Handling is set to 2, the Server MUST NOT send
MQTT-3.3.1-12 If the value of Retain As Published subscription option is set to
MQTT-3.3.1-13 If the value of Retain As Published subscription option is set to
MQTT-3.3.2-1 The Topic Name MUST be present as the first field in the
MQTT-3.3.2-2 The Topic Name in the PUBLISH packet MUST NOT contain wildcard characters
MQTT-3.3.2-3 The Topic Name in a PUBLISH packet sent by a Server to
MQTT-3.3.2-4 A Server MUST send the Payload Format Indicator unaltered to all subscribers
MQTT-3.3.2-5 If the Message Expiry Interval has passed and the Server has not
MQTT-3.3.2-6 The PUBLISH packet sent to a Client by the Server MUST contain
MQTT-3.3.2-7 A receiver MUST NOT carry forward any Topic Alias mappings from one
MQTT-3.3.2-8 A sender MUST NOT send a PUBLISH packet containing a Topic Alias
MQTT-3.3.2-9 A Client MUST NOT send a PUBLISH packet with a Topic Alias
MQTT-3.3.2-10 A Client MUST accept all Topic Alias values greater than 0 and
MQTT-3.3.2-11 A Server MUST NOT send a PUBLISH packet with a Topic Alias
MQTT-3.3.2-12 A Server MUST accept all Topic Alias values greater than 0 and
MQTT-3.3.2-13 The Response Topic MUST be a UTF-8 Encoded String
MQTT-3.3.2-14 The Response Topic MUST NOT contain wildcard characters
MQTT-3.3.2-15 The Server MUST send the Response Topic unaltered to all subscribers receiving
MQTT-3.3.2-16 The Server MUST send the Correlation Data unaltered to all subscribers receiving
MQTT-3.3.2-17 The Server MUST send all User Properties unaltered in a PUBLISH packet
MQTT-3.3.2-18 The Server MUST maintain the order of User Properties when forwarding the
MQTT-3.3.2-19 The Content Type MUST be a UTF-8 Encoded String
MQTT-3.3.2-20 A Server MUST send the Content Type unaltered to all subscribers receiving
MQTT-3.3.4-1 The receiver of a PUBLISH Packet MUST respond with the packet as
MQTT-3.3.4-2 In this case the Server MUST deliver the message to the Client
MQTT-3.3.4-3 If the Client specified a Subscription Identifier for any of the overlapping
MQTT-3.3.4-4 If the Server sends a single copy of the message it MUST
MQTT-3.3.4-5 If the Server sends multiple PUBLISH packets it MUST send, in each
MQTT-3.3.4-6 A PUBLISH packet sent from a Client to a Server MUST NOT
MQTT-3.3.4-7 The Client MUST NOT send more than Receive Maximum QoS 1 and
MQTT-3.3.4-8 The Client MUST NOT delay the sending of any packets other than
MQTT-3.3.4-9 The Server MUST NOT send more than Receive Maximum QoS 1 and
MQTT-3.3.4-10 The Server MUST NOT delay the sending of any packets other than
MQTT-3.4.2-1 The Client or Server sending the PUBACK packet MUST use one of
MQTT-3.4.2-2 The sender MUST NOT send this property if it would increase the
MQTT-3.4.2-3 The sender MUST NOT send this property if it would increase the
MQTT-3.5.2-1 The Client or Server sending the PUBREC packet MUST use one of
MQTT-3.5.2-2 The sender MUST NOT send this property if it would increase the
MQTT-3.5.2-3 The sender MUST NOT send this property if it would increase the
MQTT-3.6.1-1 Bits 3,2,1 and 0 of the Fixed Header in the PUBREL packet
MQTT-3.6.2-1 The Client or Server sending the PUBREL packet MUST use one of
MQTT-3.6.2-2 The sender MUST NOT send this Property if it would increase the
MQTT-3.6.2-3 The sender MUST NOT send this property if it would increase the
MQTT-3.7.2-1 The Client or Server sending the PUBCOMP packets MUST use one of
MQTT-3.7.2-2 The sender MUST NOT use this Property if it would increase the
MQTT-3.7.2-3 The sender MUST NOT send this property if it would increase the
MQTT-3.8.1-1 Bits 3,2,1 and 0 of the Fixed Header of the SUBSCRIBE packet
MQTT-3.8.3-1 The Topic Filters MUST be a UTF-8 Encoded String
MQTT-3.8.3-2 The Payload MUST contain at least one Topic Filter and Subscription Options
MQTT-3.8.3-3 Bit 2 of the Subscription Options represents the No Local option. If
MQTT-3.8.3-4 It is a Protocol Error to set the No Local bit to
MQTT-3.8.3-5 The Server MUST treat a SUBSCRIBE packet as malformed if any of
MQTT-3.8.4-1 When the Server receives a SUBSCRIBE packet from a Client, the Server
MQTT-3.8.4-2 The SUBACK packet MUST have the same Packet Identifier as the SUBSCRIBE
MQTT-3.8.4-3 If a Server receives a SUBSCRIBE packet containing a Topic Filter that
MQTT-3.8.4-4 If the Retain Handling option is 0, any existing retained messages matching
MQTT-3.8.4-5 If a Server receives a SUBSCRIBE packet that contains multiple Topic Filters
MQTT-3.8.4-6 The SUBACK packet sent by the Server to the Client MUST contain
MQTT-3.8.4-7 This Reason Code MUST either show the maximum QoS that was granted
MQTT-3.8.4-8 The QoS of Payload Messages sent in response to a Subscription MUST
MQTT-3.9.2-1 The Server MUST NOT send this Property if it would increase the
MQTT-3.9.2-2 The Server MUST NOT send this property if it would increase the
MQTT-3.9.3-1 The order of Reason Codes in the SUBACK packet MUST match the
MQTT-3.9.3-2 The Server sending the SUBACK packet MUST send one of the Subscribe
MQTT-3.10.1-1 Bits 3,2,1 and 0 of the Fixed Header of the UNSUBSCRIBE packet
MQTT-3.10.3-1 The Topic Filters in an UNSUBSCRIBE packet MUST be UTF-8 Encoded Strings
MQTT-3.10.3-2 The Payload of an UNSUBSCRIBE packet MUST contain at least one Topic
MQTT-3.10.4-1 The Topic Filters (whether they contain wildcards or not) supplied in an
MQTT-3.10.4-2 When a Server receives UNSUBSCRIBE It MUST stop adding any new messages
MQTT-3.10.4-3 When a Server receives UNSUBSCRIBE It MUST complete the delivery of any
MQTT-3.10.4-4 The Server MUST respond to an UNSUBSCRIBE request by sending an UNSUBACK
MQTT-3.10.4-5 The UNSUBACK packet MUST have the same Packet Identifier as the UNSUBSCRIBE
MQTT-3.10.4-6 If a Server receives an UNSUBSCRIBE packet that contains multiple Topic Filters
MQTT-3.11.2-1 The Server MUST NOT send this Property if it would increase the
MQTT-3.11.2-2 The Server MUST NOT send this property if it would increase the
MQTT-3.11.3-1 The order of Reason Codes in the UNSUBACK packet MUST match the
MQTT-3.11.3-2 The Server sending the UNSUBACK packet MUST use one of the UNSUBSCRIBE
MQTT-3.12.4-1 The Server MUST send a PINGRESP packet in response to a PINGREQ
MQTT-3.14.0-1 A Server MUST NOT send a DISCONNECT until after it has sent
MQTT-3.14.1-1 The Client or Server MUST validate that reserved bits are set to
MQTT-3.14.2-1 The Client or Server sending the DISCONNECT packet MUST use one of
MQTT-3.14.2-2 The Session Expiry Interval MUST NOT be sent on a DISCONNECT by
MQTT-3.14.2-3 The sender MUST NOT use this Property if it would increase the
MQTT-3.14.2-4 The sender MUST NOT send this property if it would increase the
MQTT-3.14.4-1 After sending a DISCONNECT packet the sender MUST NOT send any more
MQTT-3.14.4-2 After sending a DISCONNECT packet the sender MUST close the Network Connection
MQTT-3.14.4-3 On receipt of DISCONNECT with a Reason Code of 0x00 (Success) the
MQTT-3.15.1-1 Bits 3,2,1 and 0 of the Fixed Header of the AUTH packet
MQTT-3.15.2-1 The sender of the AUTH Packet MUST use one of the Authenticate
MQTT-3.15.2-2 The sender MUST NOT send this property if it would increase the
MQTT-3.15.2-3 The sender MUST NOT send this property if it would increase the
MQTT-4.1.0-1 The Client and Server MUST NOT discard the Session State while the
MQTT-4.1.0-2 The Server MUST discard the Session State when the Network Connection is
MQTT-4.2-1 A Client or Server MUST support the use of one or more
MQTT-4.3.1-1 In the QoS 0 delivery protocol, the sender MUST send a PUBLISH
MQTT-4.3.2-1 In the QoS 1 delivery protocol, the sender MUST assign an unused
MQTT-4.3.2-2 In the QoS 1 delivery protocol, the sender MUST send a PUBLISH
MQTT-4.3.2-3 In the QoS 1 delivery protocol, the sender MUST treat the PUBLISH
MQTT-4.3.2-4 In the QoS 1 delivery protocol, the receiver MUST respond with a
MQTT-4.3.2-5 In the QoS 1 delivery protocol, the receiver after it has sent
MQTT-4.3.3-1 In the QoS 2 delivery protocol, the sender MUST assign an unused
MQTT-4.3.3-2 In the QoS 2 delivery protocol, the sender MUST send a PUBLISH
MQTT-4.3.3-3 In the QoS 2 delivery protocol, the sender MUST treat the PUBLISH
MQTT-4.3.3-4 In the QoS 2 delivery protocol, the sender MUST send a PUBREL
MQTT-4.3.3-5 In the QoS 2 delivery protocol, the sender MUST treat the PUBREL
MQTT-4.3.3-6 In the QoS 2 delivery protocol, the sender MUST NOT re-send the
MQTT-4.3.3-7 In the QoS 2 delivery protocol, the sender MUST NOT apply Application
MQTT-4.3.3-8 In the QoS 2 delivery protocol, the receiver MUST respond with a
MQTT-4.3.3-9 In the QoS 2 delivery protocol, the receiver if it has sent
MQTT-4.3.3-10 In the QoS 2 delivery protocol, the receiver until it has received
MQTT-4.3.3-11 In the QoS 2 delivery protocol, the receiver MUST respond to a
MQTT-4.3.3-12 In the QoS 2 delivery protocol, the receiver After it has sent
MQTT-4.3.3-13 In the QoS 2 delivery protocol, the receiver MUST continue the QoS
MQTT-4.4.0-1 When a Client reconnects with Clean Start set to 0 and a
MQTT-4.4.0-2 If PUBACK or PUBREC is received containing a Reason Code of 0x80
MQTT-4.5.0-1 When a Server takes ownership of an incoming Application Message it MUST
MQTT-4.5.0-2 The Client MUST acknowledge any Publish packet it receives according to the
MQTT-4.6.0-1 When the Client re-sends any PUBLISH packets, it MUST re-send them in
MQTT-4.6.0-2 The Client MUST send PUBACK packets in the order in which the
MQTT-4.6.0-3 The Client MUST send PUBREC packets in the order in which the
MQTT-4.6.0-4 The Client MUST send PUBREL packets in the order in which the
MQTT-4.6.0-5 When a Server processes a message that has been published to an
MQTT-4.6.0-6 By default, a Server MUST treat every Topic as an Ordered Topic
MQTT-4.7.0-1 The wildcard characters can be used in Topic Filters, but MUST NOT
MQTT-4.7.1-1 The multi-level wildcard character MUST be specified either on its own or
MQTT-4.7.1-2 The single-level wildcard can be used at any level in the Topic
MQTT-4.7.2-1 The Server MUST NOT match Topic Filters starting with a wildcard character
MQTT-4.7.3-1 All Topic Names and Topic Filters MUST be at least one character
MQTT-4.7.3-2 Topic Names and Topic Filters MUST NOT include the null character (Unicode
MQTT-4.7.3-3 Topic Names and Topic Filters are UTF-8 Encoded Strings; they MUST NOT
MQTT-4.7.3-4 When it performs subscription matching the Server MUST NOT perform any normalization
MQTT-4.8.2-1 A Shared Subscription's Topic Filter MUST start with $share/ and MUST contain
MQTT-4.8.2-2 The ShareName MUST NOT contain the characters "/", "+" or "#", but
MQTT-4.8.2-3 The Server MUST respect the granted QoS for the Clients subscription
MQTT-4.8.2-4 The Server MUST complete the delivery of the message to that Client
MQTT-4.8.2-5 If the Clients Session terminates before the Client reconnects, the Server MUST
MQTT-4.8.2-6 If a Client responds with a PUBACK or PUBREC containing a Reason
MQTT-4.9.0-1 The Client or Server MUST set its initial send quota to a
MQTT-4.9.0-2 Each time the Client or Server sends a PUBLISH packet at QoS
MQTT-4.9.0-3 The Client and Server MUST continue to process and respond to all
MQTT-4.12.0-1 If the Server does not support the Authentication Method supplied by the
MQTT-4.12.0-2 If the Server requires additional information to complete the authorization, it can
MQTT-4.12.0-3 The Client responds to an AUTH packet from the Server by sending
MQTT-4.12.0-4 The Server can reject the authentication at any point in this process
MQTT-4.12.0-5 If the initial CONNECT packet included an Authentication Method property then all
MQTT-4.12.0-6 If the Client does not include an Authentication Method in the CONNECT
MQTT-4.12.0-7 If the Client does not include an Authentication Method in the CONNECT
MQTT-4.12.1-1 If the Client supplied an Authentication Method in the CONNECT packet it
MQTT-4.12.1-2 If the re-authentication fails, the Client or Server SHOULD send DISCONNECT with
MQTT-4.13.1-1 When a Server detects a Malformed Packet or Protocol Error, and a
MQTT-4.13.2-1 The CONNACK and DISCONNECT packets allow a Reason Code of 0x80 or
MQTT-6.0.0-1 MQTT Control Packets MUST be sent in WebSocket binary data frames. If
MQTT-6.0.0-2 A single WebSocket data frame can contain multiple or partial MQTT Control
MQTT-6.0.0-3 The Client MUST include "mqtt" in the list of WebSocket Sub Protocols
MQTT-6.0.0-4 The WebSocket Subprotocol name selected and returned by the Server MUST be
`

const MQTT_3 = `
v3:MQTT-1.5.3-1 The character data in a UTF-8 encoded string MUST be well-formed
v3:MQTT-1.5.3-2 A UTF-8 encoded string MUST NOT include an encoding of U+0000
v3:MQTT-1.5.3-3 A UTF-8 encoded sequence 0xEF 0xBB 0xBF is always to be interpreted as U+FEFF
v3:MQTT-2.2.2-1 Where a flag bit is marked as "Reserved", it MUST be set to the value listed
v3:MQTT-2.2.2-2 If invalid flags are received, the receiver MUST close the Network Connection
v3:MQTT-2.3.1-1 SUBSCRIBE, UNSUBSCRIBE and PUBLISH (QoS > 0) MUST contain a non-zero Packet Identifier
v3:MQTT-2.3.1-2 Each time a Client sends a new packet it MUST assign an unused Packet Identifier
v3:MQTT-2.3.1-3 If a Client re-sends a Control Packet, it MUST use the same Packet Identifier
v3:MQTT-2.3.1-4 The same conditions apply to a Server when it sends a PUBLISH with QoS > 0
v3:MQTT-2.3.1-5 A PUBLISH Packet MUST NOT contain a Packet Identifier if its QoS is 0
v3:MQTT-2.3.1-6 A PUBACK, PUBREC or PUBREL Packet MUST contain the Packet Identifier of the PUBLISH
v3:MQTT-2.3.1-7 SUBACK and UNSUBACK MUST contain the Packet Identifier of their request
v3:MQTT-3.1.0-1 The first Packet sent from the Client to the Server MUST be a CONNECT
v3:MQTT-3.1.0-2 The Server MUST process a second CONNECT Packet as a protocol violation
v3:MQTT-3.1.2-1 If the protocol name is incorrect the Server MAY disconnect the Client
v3:MQTT-3.1.2-2 The Server MUST respond with return code 0x01 if the Protocol Level is not supported
v3:MQTT-3.1.2-3 The Server MUST validate that the reserved flag in the CONNECT is set to zero
v3:MQTT-3.1.2-4 If CleanSession is set to 0, the Server MUST resume communications from the Session
v3:MQTT-3.1.2-5 The Server MUST store further QoS 1 and QoS 2 messages that match subscriptions
v3:MQTT-3.1.2-6 If CleanSession is set to 1, the Client and Server MUST discard any previous Session
v3:MQTT-3.1.2-7 Retained messages MUST NOT be deleted when the Session ends
v3:MQTT-3.1.2-8 If the Will Flag is set to 1, a Will Message MUST be stored on the Server
v3:MQTT-3.1.2-9 If the Will Flag is set to 1, the Will Topic and Will Message MUST be present
v3:MQTT-3.1.2-10 The Will Message MUST be removed once it has been published or on DISCONNECT
v3:MQTT-3.1.2-11 If the Will Flag is set to 0, Will QoS and Will Retain MUST be set to zero
v3:MQTT-3.1.2-12 If the Will Flag is set to 0, a Will Message MUST NOT be published
v3:MQTT-3.1.2-13 If the Will Flag is set to 0, then the Will QoS MUST be set to 0
v3:MQTT-3.1.2-14 If the Will Flag is set to 1, the Will QoS MUST NOT be 3
v3:MQTT-3.1.2-15 If the Will Flag is set to 0, then the Will Retain Flag MUST be set to 0
v3:MQTT-3.1.2-16 If Will Retain is set to 0, the Server MUST publish the Will as a non-retained message
v3:MQTT-3.1.2-17 If Will Retain is set to 1, the Server MUST publish the Will as a retained message
v3:MQTT-3.1.2-18 If the User Name Flag is set to 0, a user name MUST NOT be present
v3:MQTT-3.1.2-19 If the User Name Flag is set to 1, a user name MUST be present
v3:MQTT-3.1.2-20 If the Password Flag is set to 0, a password MUST NOT be present
v3:MQTT-3.1.2-21 If the Password Flag is set to 1, a password MUST be present
v3:MQTT-3.1.2-22 If the User Name Flag is set to 0, the Password Flag MUST be set to 0
v3:MQTT-3.1.2-23 In the absence of other Control Packets, the Client MUST send a PINGREQ
v3:MQTT-3.1.2-24 Without a packet within one and a half Keep Alives the Server MUST disconnect
v3:MQTT-3.1.3-1 The fields MUST appear in the order Client Identifier, Will Topic, Will Message
v3:MQTT-3.1.3-2 The ClientId MUST be used to identify state of the MQTT Session
v3:MQTT-3.1.3-3 The Client Identifier MUST be present and MUST be the first field
v3:MQTT-3.1.3-4 The ClientId MUST be a UTF-8 encoded string
v3:MQTT-3.1.3-5 The Server MUST allow ClientIds which are between 1 and 23 bytes
v3:MQTT-3.1.3-6 A Server MAY allow a ClientId of zero bytes and MUST assign a unique one
v3:MQTT-3.1.3-7 If the Client supplies a zero-byte ClientId, it MUST set CleanSession to 1
v3:MQTT-3.1.3-8 A zero-byte ClientId with CleanSession 0 MUST be answered with return code 0x02
v3:MQTT-3.1.3-9 If the Server rejects the ClientId it MUST respond with return code 0x02
v3:MQTT-3.1.3-10 The Will Topic MUST be a UTF-8 encoded string
v3:MQTT-3.1.3-11 The User Name MUST be a UTF-8 encoded string
v3:MQTT-3.1.4-1 The Server MUST validate that the CONNECT Packet conforms to section 3.1
v3:MQTT-3.1.4-2 If the ClientId is connected already the Server MUST disconnect the existing Client
v3:MQTT-3.1.4-3 The Server MUST perform the processing of CleanSession
v3:MQTT-3.1.4-4 The Server MUST acknowledge the CONNECT with a zero return code
v3:MQTT-3.1.4-5 If the Server rejects the CONNECT, it MUST NOT process any data after it
v3:MQTT-3.2.0-1 The first packet sent from the Server to the Client MUST be a CONNACK
v3:MQTT-3.2.2-1 With CleanSession set to 1, the Server MUST set Session Present to 0
v3:MQTT-3.2.2-2 With CleanSession 0 and stored Session state it MUST set Session Present to 1
v3:MQTT-3.2.2-3 Without stored Session state it MUST set Session Present to 0
v3:MQTT-3.2.2-4 With a non-zero return code the Server MUST set Session Present to 0
v3:MQTT-3.2.2-5 After a non-zero return code the Server MUST close the Network Connection
v3:MQTT-3.2.2-6 If no return code is applicable, the Server MUST close without sending a CONNACK
v3:MQTT-3.3.1-1 The DUP flag MUST be set to 1 when a PUBLISH Packet is re-delivered
v3:MQTT-3.3.1-2 The DUP flag MUST be set to 0 for all QoS 0 messages
v3:MQTT-3.3.1-3 The DUP flag in the outgoing PUBLISH is set independently to the incoming one
v3:MQTT-3.3.1-4 A PUBLISH Packet MUST NOT have both QoS bits set to 1
v3:MQTT-3.3.1-5 If RETAIN is 1 the Server MUST store the Application Message and its QoS
v3:MQTT-3.3.1-6 A new subscription MUST be sent the last retained message of each matching topic
v3:MQTT-3.3.1-7 A QoS 0 message with RETAIN 1 MUST discard the message retained before
v3:MQTT-3.3.1-8 The Server MUST set RETAIN to 1 if a message is sent as a result of a new subscription
v3:MQTT-3.3.1-9 It MUST set RETAIN to 0 when the message matches an established subscription
v3:MQTT-3.3.1-10 With RETAIN 1 and an empty payload the retained message MUST be removed
v3:MQTT-3.3.1-11 A zero byte retained message MUST NOT be stored
v3:MQTT-3.3.1-12 If RETAIN is 0 the Server MUST NOT store the message nor replace a retained one
v3:MQTT-3.3.2-1 The Topic Name MUST be present as the first field and MUST be UTF-8
v3:MQTT-3.3.2-2 The Topic Name in the PUBLISH Packet MUST NOT contain wildcard characters
v3:MQTT-3.3.2-3 The Topic Name sent to a Client MUST match the Subscription's Topic Filter
v3:MQTT-3.3.4-1 The receiver of a PUBLISH Packet MUST respond according to its QoS
v3:MQTT-3.3.5-1 The Server MUST respect the maximum QoS of all the matching subscriptions
v3:MQTT-3.3.5-2 A PUBLISH that is not authorized MUST be acknowledged or its connection closed
v3:MQTT-3.6.1-1 The flags of PUBREL MUST be 0,0,1,0
v3:MQTT-3.8.1-1 The flags of SUBSCRIBE MUST be 0,0,1,0
v3:MQTT-3.8.3-1 The Topic Filters in a SUBSCRIBE MUST be UTF-8 encoded strings
v3:MQTT-3.8.3-2 Without support of wildcards a Subscription request with one MUST be rejected
v3:MQTT-3.8.3-3 The payload of a SUBSCRIBE MUST contain at least one Topic Filter / QoS pair
v3:MQTT-3.8.3-4 A SUBSCRIBE with Reserved bits or a QoS that is not 0, 1 or 2 is malformed
v3:MQTT-3.8.4-1 The Server MUST respond to SUBSCRIBE with a SUBACK Packet
v3:MQTT-3.8.4-2 The SUBACK MUST have the same Packet Identifier as the SUBSCRIBE
v3:MQTT-3.8.4-3 An identical Topic Filter MUST replace the existing Subscription
v3:MQTT-3.8.4-4 Multiple Topic Filters MUST be handled as a sequence of SUBSCRIBE Packets
v3:MQTT-3.8.4-5 The SUBACK MUST contain a return code for each Topic Filter/QoS pair
v3:MQTT-3.8.4-6 The QoS of Payload Messages MUST be the minimum of published and granted QoS
v3:MQTT-3.9.3-1 The order of return codes MUST match the order of Topic Filters
v3:MQTT-3.9.3-2 SUBACK return codes other than 0x00, 0x01, 0x02 and 0x80 MUST NOT be used
v3:MQTT-3.10.1-1 The flags of UNSUBSCRIBE MUST be 0,0,1,0
v3:MQTT-3.10.3-1 The Topic Filters in an UNSUBSCRIBE MUST be UTF-8 encoded strings
v3:MQTT-3.10.3-2 The Payload of an UNSUBSCRIBE MUST contain at least one Topic Filter
v3:MQTT-3.10.4-1 The Topic Filters in an UNSUBSCRIBE MUST be compared character-by-character
v3:MQTT-3.10.4-2 It MUST stop adding any new messages for delivery to the Client
v3:MQTT-3.10.4-3 It MUST complete the delivery of QoS 1 and 2 messages it has started to send
v3:MQTT-3.10.4-4 The Server MUST respond to an UNSUBSCRIBE by an UNSUBACK with its identifier
v3:MQTT-3.10.4-5 Even where no Topic Subscriptions are deleted, the Server MUST respond
v3:MQTT-3.10.4-6 Multiple Topic Filters MUST be handled as a sequence of UNSUBSCRIBE Packets
v3:MQTT-3.12.4-1 The Server MUST send a PINGRESP in response to a PINGREQ
v3:MQTT-3.14.1-1 The Server MUST validate that reserved bits of DISCONNECT are zero
v3:MQTT-3.14.4-1 After sending a DISCONNECT the Client MUST close the Network Connection
v3:MQTT-3.14.4-2 After sending a DISCONNECT the Client MUST NOT send any more Control Packets
v3:MQTT-3.14.4-3 On receipt of DISCONNECT the Server MUST discard any Will Message
v3:MQTT-4.1.0-1 The Client and Server MUST store Session state for the duration of the Session
v3:MQTT-4.1.0-2 A Session MUST last at least as long as it has an active Network Connection
v3:MQTT-4.3.1-1 In the QoS 0 protocol, the Sender MUST send a PUBLISH with QoS=0, DUP=0
v3:MQTT-4.3.2-1 In the QoS 1 protocol, the Sender MUST assign an unused Packet Identifier
v3:MQTT-4.3.2-2 In the QoS 1 protocol, the Receiver MUST respond with a PUBACK
v3:MQTT-4.3.3-1 In the QoS 2 protocol, the Sender MUST assign an unused Packet Identifier
v3:MQTT-4.3.3-2 In the QoS 2 protocol, the Receiver MUST respond with a PUBREC
v3:MQTT-4.4.0-1 After a reconnect unacknowledged PUBLISH and PUBREL Packets MUST be re-sent
v3:MQTT-4.5.0-1 The Server MUST add the message to the Session state of matching clients
v3:MQTT-4.5.0-2 The Client MUST acknowledge any Publish Packet it receives
v3:MQTT-4.6.0-1 PUBLISH Packets MUST be re-sent in the order of their first sending
v3:MQTT-4.6.0-2 PUBACK Packets MUST be sent in the order of the PUBLISH Packets
v3:MQTT-4.6.0-3 PUBREC Packets MUST be sent in the order of the PUBLISH Packets
v3:MQTT-4.6.0-4 PUBREL Packets MUST be sent in the order of the PUBREC Packets
v3:MQTT-4.6.0-5 A Server MUST by default treat each Topic as an "Ordered Topic"
v3:MQTT-4.6.0-6 PUBLISH Packets MUST be sent to consumers in the order they were received
v3:MQTT-4.7.1-1 The wildcard characters MUST NOT be used within a Topic Name
v3:MQTT-4.7.1-2 The multi-level wildcard MUST be the last character of the Topic Filter
v3:MQTT-4.7.1-3 The single-level wildcard MUST occupy an entire level of the filter
v3:MQTT-4.7.2-1 A leading wildcard MUST NOT match Topic Names beginning with $
v3:MQTT-4.7.3-1 All Topic Names and Topic Filters MUST be at least one character long
v3:MQTT-4.7.3-2 Topic Names and Topic Filters MUST NOT include the null character
v3:MQTT-4.7.3-3 Topic Names and Topic Filters MUST NOT encode to more than 65535 bytes
v3:MQTT-4.7.3-4 The Server MUST NOT perform any normalization of Topic Names or Topic Filters
v3:MQTT-4.8.0-1 Upon a protocol violation the Network Connection MUST be closed
v3:MQTT-4.8.0-2 Upon a Transient Error the Network Connection MUST be closed
v3:MQTT-6.0.0-1 MQTT Control Packets MUST be sent in WebSocket binary data frames
v3:MQTT-6.0.0-2 The receiver MUST NOT assume that Control Packets are aligned on frame boundaries
v3:MQTT-6.0.0-3 The client MUST include "mqtt" in the list of WebSocket Sub Protocols
v3:MQTT-6.0.0-4 The WebSocket Sub Protocol name selected by the server MUST be "mqtt"
`

/** Every statement, MQTT 5.0 first. */
export const STATEMENTS: readonly Statement[] = `${MQTT_5}${MQTT_3}`
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => {
    const space = line.indexOf(' ')
    return { id: line.slice(0, space), words: line.slice(space + 1) }
  })

/** What brokers most often fail in runs of conformance suites and in issue threads. A test names its number. */
export const OFTEN_FAILED: readonly string[] = [
  'A second CONNECT, or a first packet that is no CONNECT',
  'A wrong protocol level: 3.1.1 answers 0x01, 5.0 answers 0x84',
  'An empty client id with clean session 0: 0x02, close',
  'CONNECT with trailing bytes, will QoS 3, will flags without will, password without user name',
  'UTF-8: U+0000 and surrogates in every string; control characters are accepted',
  'Fixed-header flags; wrong lengths of PINGREQ and acks',
  'QoS 1 and 2 with packet id 0 or none; QoS 0 with DUP',
  'Redelivery with DUP and the same packet id',
  'Session present after takeover and resume',
  'QoS 2: PUBREL owed is sent again after a resume; expiry never deletes past PUBREC; PUBREL of a known id is not 0x92',
  'The retain flag on new subscriptions and live messages; retain as published kept through the queue',
  'Overlapping subscriptions: highest QoS, all identifiers; no local',
  'Receive maximum exceeded: DISCONNECT 0x93',
  'Maximum packet size: drop, never truncate; the reason string goes first',
  'Inbound topic alias removed before delivery; 0 or over the maximum: 0x94',
  'Response topic, payload format, content type passed on unaltered, refused when invalid',
  'Authentication data without method: 0x82',
  'Takeover: DISCONNECT 0x8E to the old connection',
  'Will at takeover when will delay 0, session expiry 0 or clean start',
  'Session expiry 0 ends at close; an elapsed session is not resumed',
  'DISCONNECT 0x04 keeps the will; PUBCOMP 0x92 for an unknown PUBREL; DUP is not passed on',
  'Retain unavailable: a will with retain is refused 0x9A',
  'A malformed version 5 packet gets DISCONNECT 0x81 or 0x82 before the close, at once',
  'Retained messages are not sent again at resume; CONNACK is always the first packet',
  'Announced keep-alive and receive maximum are the ones enforced',
  '$ topics do not match a leading wildcard',
  'A SUBACK is a route: it does not come before the route is visible',
]

/** The tests of Eclipse Paho's interoperability suites, whose ground is covered here. */
export const PAHO: Readonly<Record<'paho3' | 'paho5', readonly string[]>> = {
  paho3: [
    ...['testBasic', 'test_retained_messages', 'test_zero_length_clientid', 'test_offline_message_queueing'],
    ...['test_overlapping_subscriptions', 'test_keepalive', 'test_redelivery_on_reconnect', 'test_subscribe_failure'],
    ...['test_dollar_topics', 'test_unsubscribe'],
  ],
  paho5: [
    ...['test_basic', 'test_retained_message', 'test_will_message', 'test_zero_length_clientid'],
    ...['test_offline_message_queueing', 'test_overlapping_subscriptions', 'test_keepalive'],
    ...['test_redelivery_on_reconnect', 'test_subscribe_failure', 'test_dollar_topics', 'test_unsubscribe'],
    ...['test_session_expiry', 'test_user_properties', 'test_payload_format', 'test_publication_expiry'],
    ...['test_subscribe_options', 'test_assigned_clientid', 'test_subscribe_identifiers', 'test_request_response'],
    ...['test_client_topic_alias', 'test_server_topic_alias', 'test_maximum_packet_size', 'test_server_keep_alive'],
    ...['test_flow_control1', 'test_flow_control2', 'test_will_delay', 'test_shared_subscriptions'],
  ],
}
